"""Labels of a text that are names of the catalogue's columns: `disliked_by: critics` speaks against nothing.

A profile may list attributes by name, and a column may be called like a word of taste (`Dislikes`, `not_for`, `cons`).
Such a label counts as a column where the value under it is one of this column. In doubt it counts as a word of taste:
`Dislikes: horror` speaks against horror, also in a catalogue that has a column `Dislikes` of other values.
"""

import re
from collections.abc import Set
from functools import lru_cache
from typing import NamedTuple

from retort.offline.profiles.item_facts import PERIOD, column_words, is_year
from retort.offline.profiles.polarity import Preceding, is_negative

_WORDS = re.compile(r"[^\W_]+")
# A label within a clause: words before a colon, at its start or after a mark.
_LABEL = re.compile(r"(?:\A|(?<=[,;|(:]))[\s\-–*#>•|]*([^\W\d_][\w '’/-]{0,40}?)\s*\**\s*[:=]\**(?=\s|\Z)")
# "disliked by critics": words of a column directly before its value.
_ARTICLE = r"[\W_]*(?:the |some |many |most )?\Z"


class _Label(NamedTuple):
    start: int
    end: int
    column: str


@lru_cache(maxsize=4096)
def is_of_taste(name: str) -> bool:
    """Whether a value means by itself what a user likes: not under a column such as `cons` or `disliked_by`."""
    return not is_negative(column_words(name))


def without_columns(preceding: Preceding, names: Set[str], columns: Set[str]) -> Preceding:
    """Return what precedes a mention, without the labels that are columns.

    Args:
        names: Attributes of the categories that the mention can mean.
        columns: Words of the names of all columns of the catalogue.
    """
    # of a value of several columns, such as `horror`, a word of taste says more than a column of this name
    own = {column_words(name) for name in names if len(names) == 1 or is_of_taste(name)}
    if PERIOD in names:
        own |= {column for column in columns if is_year(column)}
    labels = [
        _Label(found.start(1), found.end(), column_words(found[1])) for found in _LABEL.finditer(preceding.clause)
    ]
    if not labels:
        label = "" if column_words(preceding.label) in own else preceding.label
        return Preceding(label, _without_words(preceding.clause, own))
    if labels[-1].column not in own:
        return preceding
    first, label = labels[-1], preceding.label
    if _has_values(preceding.clause, labels) and labels[0].column in columns:
        first = labels[0]  # a list of attributes, each with its values
        label = "" if column_words(label) in columns else label
    return Preceding(label, f"{preceding.clause[: first.start]} {preceding.clause[labels[-1].end :]}")


def _has_values(clause: str, labels: list[_Label]) -> bool:
    """Whether values follow the first label; another label would show that the first is one of taste."""
    return len(labels) == 1 or bool(_WORDS.search(clause, labels[0].end, labels[1].start))


def _without_words(clause: str, own: Set[str]) -> str:
    """Leave out the words of a column of several words that stand directly before its value."""
    for column in own:
        if " " in column and (found := _column_at_end(column).search(clause)):
            return clause[: found.start()]
    return clause


@lru_cache(maxsize=4096)
def _column_at_end(column: str) -> re.Pattern[str]:
    return re.compile(r"\b" + r"[\W_]*".join(map(re.escape, column.split())) + _ARTICLE, re.IGNORECASE)
