"""Configuration of the student `neumf`."""

from pydantic import Field

from retort.offline.students.configs._base import StudentConfig


class Config(StudentConfig):
    """`embedding_dim` holds both parts of a vector: that of GMF and that of the MLP."""

    read_dim: int | None = Field(None, ge=1, description="width of the MLP part; unset: half")
    layers: tuple[int, ...] = Field((64, 32, 16), min_length=1, description="widths of the MLP layers")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout rate before each layer")
