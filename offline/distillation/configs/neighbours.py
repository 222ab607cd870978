"""Configuration of the objective `neighbours`."""

from pydantic import Field

from retort.offline.distillation.configs._base import ObjectiveConfig, Pooling


class Config(ObjectiveConfig):
    """With own_share = 1 this is plain profile reconstruction."""

    k: int = Field(20, ge=1, description="number of neighbours, without the user")
    own_share: float = Field(0.3, ge=0, le=1, description="of the user's own profile in the target")
    pool: int = Field(20_000, ge=2, description="neighbours are searched among at most this many users")
    pooling: Pooling = Field("mean", description="how positions become one vector")
    gamma: float = Field(0.1, ge=0, le=100, description="of exponential pooling")
    block: int = Field(-1, ge=-100, le=99, description="counts from 0; −1 is the last")
