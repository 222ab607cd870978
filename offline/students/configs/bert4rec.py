"""Configuration of the student `bert4rec`."""

from pydantic import Field

from retort.offline.students.configs._base import StackConfig


class Config(StackConfig):
    """The paper masks 15 % of the items and adds rows with only the last one masked, as in evaluation."""

    expansion: int = Field(4, ge=1, le=64, description="the feed-forward is this many times embedding_dim wide")
    mask_share: float = Field(0.15, gt=0, lt=1, description="share of masked items of a row, at least one item")
    last_item_share: float = Field(0.3, ge=0, le=1, description="share of rows in which only the last item is masked")
