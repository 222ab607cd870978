"""Configuration of the objective `profile`."""

from typing import ClassVar, Literal

from pydantic import Field

from retort.offline.distillation.configs._base import Combination, ObjectiveConfig, Pooling


class Config(ObjectiveConfig):
    """The paper's α is `weight` with share = true, its β is match_scale, its fine-tuning starts after last_epoch."""

    FAITHFUL_ONLY: ClassVar[frozenset[str]] = frozenset({"down_scale", "up_scale", "loss", "scale_cap"})
    WEIGHS_USERS: ClassVar[bool] = True

    mode: Literal["repaired", "faithful"] = "repaired"
    pooling: Pooling = Field("mean", description="how positions become one vector")
    gamma: float = Field(0.1, ge=0, le=100, description="weight_scale of exponential pooling")
    loss: Literal["mse", "rmse", "cosine", "infonce"] = Field(
        "cosine",
        description="distance between prediction and target; infonce: the own profile among those of the batch's users",
    )
    temperature: float = Field(0.1, gt=0, description="of infonce")
    block: int = Field(
        -1,
        ge=-100,
        le=99,
        description="counts from 0; −1: the last, after the final norm; faithful: by number before it",
    )
    aspects: Combination = Field("mean", description="several profiles a user: their mean, or learnt weights")
    down_scale: bool = Field(True, description="faithful: map the profile to the student's width; false: it has it")
    up_scale: bool = Field(
        False,
        description="faithful: map the student's side to the width of the target: its own, or the profile's without "
        "down_scale",
    )
