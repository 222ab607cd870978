"""The token that an answer gives and an event hands back: which list showed the item, and whose list that was.

The token says it itself, so that click-through by source and variant needs no look-up and no memory of what was
answered. It is not signed: whoever may write events may also write clicks, and what it names is checked against what
this server knows before it becomes a label.
"""

from dataclasses import dataclass

# request_id "." source "." variant; neither of the first two holds a dot.
PATTERN = r"^[A-Za-z0-9_-]{1,80}\.[a-z_]{1,32}\.[A-Za-z0-9_.-]{0,64}$"


@dataclass(frozen=True, slots=True)
class Impression:
    """One list that was shown. `variant` is empty where no experiment had a say."""

    request_id: str
    source: str
    variant: str = ""

    @property
    def token(self) -> str:
        return f"{self.request_id}.{self.source}.{self.variant}"


def read_impression(token: str) -> Impression:
    """The impression in a token of the right pattern."""
    request_id, source, variant = token.split(".", 2)
    return Impression(request_id, source, variant)
