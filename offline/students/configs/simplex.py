"""Configuration of the student `simplex`."""

from pydantic import Field

from retort.offline.students.configs._base import StudentConfig


class Config(StudentConfig):
    """What is dropped are components of the items read."""

    dropout: float = Field(0.1, ge=0, lt=1, description="of the components of the items read")
    scale: float = Field(10.0, gt=0, description="of the cosines, at the start")
