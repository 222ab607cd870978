"""Configuration of the student `multvae`."""

from pydantic import Field

from retort.offline.students.configs._base import MAX_WIDTH, StudentConfig


class Config(StudentConfig):
    """`max_length` is how many of the newest items the bag holds."""

    latent_dim: int = Field(32, ge=1, le=MAX_WIDTH, description="width of the Gaussian")
    dropout: float = Field(0.5, ge=0, lt=1, description="share of input items that are dropped in training")
    kl_cap: float = Field(0.2, ge=0, description="final weight of the Kullback-Leibler term")
    kl_steps: int = Field(1000, ge=1, description="training steps of linear annealing from 0 to it")
