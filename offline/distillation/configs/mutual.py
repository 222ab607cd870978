"""Configuration of the objective `mutual`."""

from typing import Literal

from pydantic import Field

from retort.offline.distillation.configs._base import ObjectiveConfig, Positions


class Config(ObjectiveConfig):
    """The temperature is the one at which the teacher's distributions were stored."""

    mode: Literal["repaired", "faithful"] = "repaired"
    positions: Positions = Field(
        "last", description="last: only the newest position with a target of a sequence (cheaper)"
    )
    weigh_samples: bool = Field(
        True, description="weight positions by the ratio of the two ranks; false: equal weights"
    )

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"lists"})
