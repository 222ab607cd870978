"""Configuration that students share; no module in this folder imports torch."""

from pydantic import Field

from retort.offline.common.section import Section


class StudentConfig(Section):
    """Settings that all students have."""

    embedding_dim: int = Field(64, description="width of an item's vector")
    max_length: int = Field(50, description="number of newest events that the student reads")


class StackConfig(StudentConfig):
    """Configuration of a stack of attention blocks; two blocks and two heads are enough for most catalogues."""

    n_blocks: int = Field(2, ge=1, description="number of blocks")
    n_heads: int = Field(2, ge=1, description="attention heads; they divide embedding_dim")
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout rate in training")
