"""Configuration of the objective `feature`."""

from typing import ClassVar, Literal

from pydantic import Field

from retort.offline.distillation.configs._base import ObjectiveConfig, Pooling, Side


class Config(ObjectiveConfig):
    """The paper uses it in the first half of the epochs: set last_epoch to N/2, share = true and weight to its α."""

    FAITHFUL_ONLY: ClassVar[frozenset[str]] = frozenset({"first_columns"})

    mode: Literal["repaired", "faithful"] = Field(
        "repaired", description="faithful: no projector, the target must have the layer's width; repaired: a linear map"
    )
    layer: str = Field("", description="name of a module of the student; empty: its last")
    side: Side = Field("output", description="the layer's input or its output")
    loss: Literal["rmse", "mse", "cosine", "infonce"] = Field(
        "rmse", description="distance between prediction and target"
    )
    pooling: Pooling = Field("mean", description="how positions become one vector")
    gamma: float = Field(0.1, ge=0, le=100, description="of exponential pooling")
    temperature: float = Field(0.1, gt=0, description="of infonce")
    first_columns: bool = Field(
        False, description="faithful: of a layer wider than the target, its first columns are compared"
    )
    width: int | None = Field(None, ge=1, description="expected width of the target; another one is refused")
