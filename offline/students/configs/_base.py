"""Configuration that students share; no module in this folder imports torch."""

from typing import Self

from pydantic import Field, model_validator

from retort.offline.common.section import Section

MAX_WIDTH = 8192
MAX_BLOCKS = 100


class StudentConfig(Section):
    """Settings that all students have."""

    embedding_dim: int = Field(64, ge=1, le=MAX_WIDTH, description="width of an item's vector")
    max_length: int = Field(50, ge=2, le=10_000, description="number of newest events that the student reads")


class StackConfig(StudentConfig):
    """Configuration of a stack of attention blocks; two blocks and two heads are enough for most catalogues."""

    n_blocks: int = Field(2, ge=1, le=MAX_BLOCKS, description="number of blocks")
    n_heads: int = Field(2, ge=1, le=256, description="attention heads; they divide embedding_dim")
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout rate in training")

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.embedding_dim % self.n_heads:
            raise ValueError(
                f"n_heads = {self.n_heads} does not divide embedding_dim = {self.embedding_dim}; change one of the two"
            )
        return self
