"""Configuration of the student `neumf`."""

from pydantic import Field

from retort.offline.students.configs._base import StudentConfig


class Config(StudentConfig):
    """`embedding_dim` holds both parts of a vector: the one that is multiplied and the one that the layers read."""

    read_dim: int | None = Field(None, ge=1, description="the part that the layers read; unset: half")
    layers: tuple[int, ...] = Field((64, 32, 16), min_length=1, description="widths, from the pair to the score")
    dropout: float = Field(0.1, ge=0, lt=1, description="before each layer")
