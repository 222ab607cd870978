"""Configuration that students share; no module in this folder imports torch."""

from pydantic import Field

from retort.offline.common.section import Section


class StudentConfig(Section):
    """Knobs that all students have; each adds its own."""

    embedding_dim: int = Field(64, description="width of an item's vector")
    max_length: int = Field(50, description="newest events that are read")


class StackConfig(StudentConfig):
    """Configuration of a stack of attention blocks; two blocks and two heads are enough for most catalogues."""

    n_blocks: int = Field(2, ge=1, description="layers")
    n_heads: int = Field(2, ge=1, description="attention heads; they divide embedding_dim")
    dropout: float = Field(0.2, ge=0, lt=1, description="share of what is hidden while training")
