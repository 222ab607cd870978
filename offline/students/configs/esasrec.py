"""Configuration of the student `esasrec`."""

from pydantic import Field

from retort.offline.students.configs._base import StackConfig


class Config(StackConfig):
    """A SwiGLU has three maps where a plain feed-forward has two, so it is made narrower."""

    expansion: int = Field(2, ge=1, le=64, description="the gated feed-forward is this many times embedding_dim wide")
