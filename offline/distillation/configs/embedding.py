"""Configuration of the objective `embedding`."""

from typing import Literal

from pydantic import Field

from retort.offline.distillation.configs._base import ObjectiveConfig


class Config(ObjectiveConfig):
    """weight is the paper's η. With the defaults W z starts with root mean square 1, so η is the addition's size."""

    weight: float = Field(0.15, ge=0, description="η: size of what is added to an item's vector")
    mode: Literal["repaired", "faithful"] = Field("repaired", description="faithful: z as the encoder gave it")
    width: int | None = Field(None, ge=1, description="repaired: components of z that are kept; unset: embedding_dim")
    whiten: float = Field(0.5, ge=0, le=1, description="repaired: 0: PCA as it is; 1: all directions equally loud")

    def active(self, epoch: int) -> bool:
        return False

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"items"})
