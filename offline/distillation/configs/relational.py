"""Configuration of the objective `relational`."""

from typing import Literal

from pydantic import Field

from retort.offline.distillation.configs._base import ObjectiveConfig, Pooling


class Config(ObjectiveConfig):
    """Relations among the item vectors of a batch, or among the pooled states of its users."""

    among: Literal["items", "users"] = Field(
        "items", description="what is compared: item vectors, or pooled states of users"
    )
    sample: int = Field(512, ge=2, description="items compared in a step")
    pooling: Pooling = Field("mean", description="users")
    gamma: float = Field(0.1, ge=0, le=100, description="of exponential pooling")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.among})
