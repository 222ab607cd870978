"""Configuration of the student `caser`."""

from typing import Self

from pydantic import Field, model_validator

from retort.offline.students.configs._base import StudentConfig


class Config(StudentConfig):
    """Horizontal filters span 1 … window items, vertical ones are weighted sums over the window."""

    window: int = Field(5, ge=1, le=10_000, description="items a position sees; at most max_length")
    horizontal_filters: int = Field(16, ge=1, le=4096, description="for each height")
    vertical_filters: int = Field(4, ge=1, le=4096, description="weighted sums over the window")
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout rate in training")

    @model_validator(mode="after")
    def _check_window(self) -> Self:
        if self.window > self.max_length:
            raise ValueError(
                f"window = {self.window} exceeds max_length = {self.max_length}; lower window or raise max_length"
            )
        return self
