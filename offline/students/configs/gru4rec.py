"""Configuration of the student `gru4rec`."""

from pydantic import Field

from retort.offline.students.configs._base import StudentConfig


class Config(StudentConfig):
    """One layer is enough for most catalogues."""

    n_blocks: int = Field(1, ge=1, description="GRU layers")
    hidden_dim: int | None = Field(None, ge=1, description="width of the recurrent state; unset: embedding_dim")
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout rate in training")
