"""Configuration of the student `gru4rec`."""

from pydantic import Field

from retort.offline.students.configs._base import MAX_BLOCKS, MAX_WIDTH, StudentConfig


class Config(StudentConfig):
    """One layer is enough for most catalogues."""

    n_blocks: int = Field(1, ge=1, le=MAX_BLOCKS, description="GRU layers")
    hidden_dim: int | None = Field(
        None, ge=1, le=MAX_WIDTH, description="width of the recurrent state; unset: embedding_dim"
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout rate in training")
