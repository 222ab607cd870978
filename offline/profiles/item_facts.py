"""What may be said of one item."""

from collections.abc import Mapping
from dataclasses import dataclass

Value = str | int | float | bool | list[str]


@dataclass(frozen=True)
class Facts:
    """What a prompt may say of one item; `text` is "" where prompts shall not quote it."""

    title: str
    attributes: Mapping[str, Value]
    text: str = ""
