"""Configuration of the objective `alphafuse`."""

from pydantic import Field

from retort.offline.distillation.configs._base import ObjectiveConfig


class Config(ObjectiveConfig):
    """Weight 0 leaves the student as it is; with any other weight the text columns are fixed."""

    weight: float = Field(1.0, ge=0, description="0: off; any other: the text columns are fixed")
    width: int | None = Field(
        None, ge=1, description="columns of the item table that hold the text; unset: half of embedding_dim"
    )
    rms: float = Field(0.15, gt=0, description="root mean square of the text columns")
    whiten: float = Field(1.0, ge=0, le=1, description="0: PCA as it is; 1: all directions equally loud, as in it")

    def active(self, epoch: int) -> bool:
        return False

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"items"})
