"""Configuration of the objective `near_items`."""

from pydantic import Field

from retort.offline.distillation.configs._base import ObjectiveConfig


class Config(ObjectiveConfig):
    """Keep the weight low: a similar text is weaker evidence than a choice."""

    weight: float = Field(0.1, ge=0)
    k: int = Field(10, ge=1, description="nearest items of each item, without itself")
    temperature: float = Field(0.1, gt=0, description="of the softmax over their cosines")
    negatives: int = Field(512, ge=0, description="sampled competitors; 0: the catalogue")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"items"})
