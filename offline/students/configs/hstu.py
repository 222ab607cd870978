"""Configuration of the student `hstu`."""

from retort.offline.students.configs._base import StackConfig


class Config(StackConfig):
    """Nothing of its own."""
