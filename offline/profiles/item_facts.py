"""Item facts and facets: what prompts state about an item, and what can be counted of it."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from retort.shared.base.text import clean_text, load_json

Value = str | int | float | bool | list[str]
Facet = tuple[str, str]  # (attribute, value)

PERIOD = "period"
# Names of attributes that hold years: with "year" as a word, or of a release or publication.
_YEAR_NAME = re.compile(
    r"(?:\w+_)?(?:year|год|jahr|année|año)(?:_\w+)?"
    r"|(?:release|publication|published?|pub|premiere|first_publish|air|launch)(?:_?(?:date|day|on|at))?"
    r"|released|premiered|date_published|date_released",
    re.IGNORECASE,
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|[^\w]+")
_YEAR_TEXT = re.compile(
    r"\(?(\d{4})(?:\.0|[-/.]\d{1,2}(?:[-/.]\d{1,2}(?:[T ].*)?)?|\))?"
    r"|\d{1,2}[./-]\d{1,2}[./-](\d{4})|(?:\d{1,2}\.? )?[^\W\d_]{3,9}\.?,? (?:\d{1,2},? )?(\d{4})"
)
# Parts of a web page that it does not show, and the tags that descriptions of shops hold.
# A part that is never closed ends with the text, as in a browser: so each character is looked at once.
_HIDDEN = re.compile(r"<(script|style)\b[^<>]*>.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(
    r"</?(?:[abipqsu]|br|hr|em|strong|[uod]l|li|d[td]|span|div|h[1-6]|su[bp]|small|big|table|tbody|thead|t[rdh]|img|font"
    r"|center|blockquote|section|article|script|style|iframe)(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_MAX_VALUE_CHARS = 48  # longer strings are descriptions, not categories


@dataclass(frozen=True)
class Facts:
    """Facts about one item that prompts may state; `text` is "" where prompts do not quote it.

    Attributes:
        kind: What kind of thing it is, by the item knowledge; "": unknown.
        shows_title: Whether prompts state the title; False: the kind stands in its place.
    """

    title: str
    attributes: Mapping[str, Value]
    text: str = ""
    kind: str = ""
    shows_title: bool = True

    @property
    def is_blank(self) -> bool:
        """Whether nothing but the item's id is known."""
        return not (self.title or self.attributes or self.text)

    @cached_property
    def facets(self) -> list[Facet]:
        """Facets of the item, found once: an item is in many histories."""
        return facets_of(self.attributes)


def plain_text(text: str) -> str:
    """Return the words of a text without tags of web pages and without the marks of a JSON object.

    They cost tokens and mean nothing.
    """
    text = clean_text(text)
    if "<" in text:
        text = " ".join(_TAG.sub(" ", _HIDDEN.sub(" ", text)).split())
    if text.startswith("{") and text.endswith("}"):
        with suppress(ValueError, RecursionError):  # nested deeper than Python goes: no item's attributes
            text = _words_of(load_json(text))
    return text


def _words_of(value: Any) -> str:
    """The keys and values of a JSON value, separated by commas."""
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_words_of(each)}" for name, each in value.items() if each not in (None, "", [], {}))
    return ", ".join(map(_words_of, value)) if isinstance(value, list) else str(value)


def facets_of(attributes: Mapping[str, Any]) -> list[Facet]:
    """Return the facets of attributes, each once.

    Lists and paths (`a > b`, `a|b`) are split, booleans become yes or no, years become decades.
    """
    found: dict[Facet, None] = {}
    for name, value in attributes.items():
        if isinstance(value, bool):
            found.update({(name, "yes" if value else "no"): None})
        elif is_year(name) and (year := _year(value)) is not None:
            found.update({(PERIOD, decade(year)): None})
        elif isinstance(value, str | list):
            parts = value if isinstance(value, list) else re.split(r"\s*(?:>|\|)\s*", value)
            found.update({(name, part.strip()): None for part in parts if 0 < len(part.strip()) <= _MAX_VALUE_CHARS})
    return list(found)


def year_of(name: str, value: Any) -> int | None:
    """Return the year that an attribute states; None if it is none of years."""
    return _year(value) if is_year(name) else None


def item_year(facts: Facts) -> int | None:
    """Return the year of an item, from the first attribute that holds one."""
    years = (year_of(name, value) for name, value in facts.attributes.items())
    return next((year for year in years if year is not None), None)


@lru_cache(maxsize=4096)
def is_year(name: str) -> bool:
    """Whether an attribute of this name holds years."""
    return bool(_YEAR_NAME.fullmatch(_CAMEL.sub("_", name.strip())))


@lru_cache(maxsize=4096)
def column_words(name: str) -> str:
    """Return an attribute's name as words in lower case: `dislikedBy`, `disliked_by` and `Disliked By` are equal."""
    return _CAMEL.sub(" ", name).replace("_", " ").strip().lower()


def _year(value: Any) -> int | None:
    """The year of a number, a text (RecBole: "1994") or a date ("1994-05-01"); None for anything else."""
    if isinstance(value, str):
        found = _YEAR_TEXT.fullmatch(value.strip())
        value = int(next(filter(None, found.groups()))) if found else None
    return int(value) if isinstance(value, int | float) and 1850 <= value <= 2100 else None


def decade(year: float) -> str:
    """Return the decade of a year: 1994 → 1990s."""
    return f"{int(year) // 10 * 10}s"
