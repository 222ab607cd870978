"""Configuration of the objective `ranking`."""

from typing import Literal

from pydantic import Field

from retort.offline.distillation.configs._base import ObjectiveConfig, Positions


class Config(ObjectiveConfig):
    """The hyperparameters of the paper, with its values."""

    mode: Literal["repaired", "faithful"] = "repaired"
    k: int = Field(10, ge=1, description="candidates of each list")
    positions: Positions = Field("all", description="last: only the newest position with a target of a sequence")
    position_scale: float = Field(1.0, gt=0, description="β: how slowly a candidate's weight falls with its position")
    gamma_position: float = Field(0.3, ge=0, description="weight of a candidate's position in the list")
    gamma_confidence: float = Field(0.5, ge=0, description="weight of the teacher's confidence in the list")
    gamma_consistency: float = Field(
        0.1, ge=0, description="weight of candidates that the student lists too; 0: no second pass"
    )
    consistency_every: int = Field(
        4, ge=1, description="repaired: epochs for which the student's own list of a position is kept; 1: never"
    )
    negatives: int = Field(512, ge=0, description="repaired: sampled competitors of the candidates; 0: the catalogue")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"lists"})
