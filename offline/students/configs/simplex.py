"""Configuration of the student `simplex`."""

from pydantic import Field

from retort.offline.students.configs._base import StudentConfig


class Config(StudentConfig):
    """Dropout removes components of the item vectors."""

    dropout: float = Field(0.1, ge=0, lt=1, description="dropout rate of the components of the item vectors")
    scale: float = Field(10.0, gt=0, description="initial factor of the cosines")
