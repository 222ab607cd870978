"""Configuration of the student `neumf`."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from retort.offline.students.configs._base import MAX_WIDTH, StudentConfig


class Config(StudentConfig):
    """`embedding_dim` holds both parts of a vector: that of GMF and that of the MLP."""

    read_dim: int | None = Field(None, ge=1, le=MAX_WIDTH, description="width of the MLP part; unset: half")
    layers: tuple[Annotated[int, Field(ge=1, le=MAX_WIDTH)], ...] = Field(
        (64, 32, 16), min_length=1, description="widths of the MLP layers"
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout rate before each layer")

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        read = self.embedding_dim // 2 if self.read_dim is None else self.read_dim
        if not 0 < read < self.embedding_dim:
            raise ValueError(
                f"read_dim = {read} must be above 0 and below embedding_dim = {self.embedding_dim}, because "
                "embedding_dim holds both parts"
            )
        return self
