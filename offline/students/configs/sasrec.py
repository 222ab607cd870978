"""Configuration of the student `sasrec`."""

from pydantic import Field

from retort.offline.students.configs._base import StackConfig


class Config(StackConfig):
    """The paper's feed-forward is as wide as the items; four times that learns faster."""

    expansion: int = Field(4, ge=1, le=64, description="the feed-forward is this many times embedding_dim wide")
