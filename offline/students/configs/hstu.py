"""Configuration of the student `hstu`."""

from retort.offline.students.configs._base import StackConfig


class Config(StackConfig):
    """The settings of all stacks of attention blocks."""
