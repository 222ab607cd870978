"""Configuration of the objective `soft_items`."""

from pydantic import Field

from retort.offline.distillation.configs._base import ObjectiveConfig


class Config(ObjectiveConfig):
    """Keep the weight low: a profile says what a user likes, not what comes next."""

    weight: float = Field(0.03, ge=0)
    k: int = Field(50, ge=1, description="nearest items of each profile")
    temperature: float = Field(0.05, gt=0, description="of the teacher's softmax over cosines")
    negatives: int = Field(512, ge=0, description="sampled competitors; 0: the catalogue")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"users", "items"})
