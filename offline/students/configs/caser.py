"""Configuration of the student `caser`."""

from pydantic import Field

from retort.offline.students.configs._base import StudentConfig


class Config(StudentConfig):
    """Horizontal filters span 1 … window items, vertical ones are weighted sums over the window."""

    window: int = Field(5, ge=1, description="items a position sees; at most max_length")
    horizontal_filters: int = Field(16, ge=1, description="for each height")
    vertical_filters: int = Field(4, ge=1, description="weighted sums over the window")
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout rate in training")
