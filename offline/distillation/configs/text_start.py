"""Configuration of the objective `text_start`."""

from pydantic import Field

from retort.offline.distillation.configs._base import ObjectiveConfig


class Config(ObjectiveConfig):
    """Weight 0 keeps the random initialisation; any other weight means initialisation from texts."""

    weight: float = Field(1.0, ge=0, description="0: random initialisation; any other: from texts")
    rms: float = Field(0.15, gt=0, description="root mean square of the components at the start")
    whiten: float = Field(0.5, ge=0, le=1, description="0: PCA as it is; 1: all directions equally loud")

    def active(self, epoch: int) -> bool:
        return False

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"items"})
