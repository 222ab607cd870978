"""Canonical form of an id, so that one user or item has one id in requests, commands and training data.

Blanks around an id do not count, and a whole number that was written as a float loses its `.0`. This is the rule by
which `retort.offline.data.ids` reads whole columns of the training data.
"""

import re

BLANKS = " \t\u00a0\u3000"
EXACT_BELOW = 1 << 53  # whole numbers from here on are not all floats

_WHOLE = re.compile(r"(-?)(0|[1-9]\d*)\.0+")
_SCIENTIFIC = re.compile(r"-?\d(?:\.\d+)?[eE]\+\d+")  # as pandas and spreadsheets write large numbers


def canonical_id(text: str) -> str:
    """Return the id without surrounding blanks, and without the `.0` of a whole number."""
    text = text.strip(BLANKS)
    if text[-1:] == "0" and (whole := _WHOLE.fullmatch(text)) is not None:
        return "0" if whole[2] == "0" else whole[1] + whole[2]
    return text


def canonical_ids(texts: list[str]) -> list[str]:
    """Return the canonical form of each id; the list itself where no text can have another, which is cheap to see."""
    joined = "\n".join(texts)
    if ".0" not in joined and not any(blank in joined for blank in BLANKS):
        return texts
    return [canonical_id(text) for text in texts]


def has_lost_digits(text: str) -> bool:
    """Whether an id was written as a float that may have lost digits, so that another id may have become the same."""
    text = text.strip(BLANKS)
    whole = _WHOLE.fullmatch(text)
    return _SCIENTIFIC.fullmatch(text) is not None or (whole is not None and abs(int(whole[2])) >= EXACT_BELOW)
