"""The token that an answer gives and an event hands back: which list showed the item, and whose list that was.

The token says it itself, so that click-through by source and variant needs no look-up and no memory of what was
answered. It is not signed: whoever may write events may also write clicks, and what it names is checked against what
this server knows before it becomes a label.
"""

from dataclasses import dataclass

# request_id "." source "." variant "~" experiment; neither of the first two holds a dot, nobody's name a tilde. Tokens
# that were given out before they named the experiment end with the variant.
PATTERN = r"^[A-Za-z0-9_-]{1,80}\.[a-z_]{1,32}\.[A-Za-z0-9_.-]{0,64}(~[A-Za-z0-9_.-]{1,64})?$"


@dataclass(frozen=True, slots=True)
class Impression:
    """One list that was shown. `variant` is empty where no experiment had a say, `experiment` where none is named."""

    request_id: str
    source: str
    variant: str = ""
    experiment: str = ""

    @property
    def token(self) -> str:
        named = f"~{self.experiment}" if self.experiment else ""
        return f"{self.request_id}.{self.source}.{self.variant}{named}"


def read_impression(token: str) -> Impression:
    """The impression in a token of the right pattern."""
    request_id, source, rest = token.split(".", 2)
    variant, _, experiment = rest.partition("~")
    return Impression(request_id, source, variant, experiment)
