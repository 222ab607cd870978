"""Item facts and facets: what prompts state about an item, and what can be counted of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Value = str | int | float | bool | list[str]
Facet = tuple[str, str]  # (attribute, value)

PERIOD = "period"
_YEARS = ("year", "release_year", "released")
_MAX_VALUE_CHARS = 48  # longer strings are descriptions, not categories


@dataclass(frozen=True)
class Facts:
    """Facts about one item that prompts may state; `text` is "" where prompts do not quote it."""

    title: str
    attributes: Mapping[str, Value]
    text: str = ""


def facets(facts: Facts) -> list[Facet]:
    """Return the facets of an item, each once.

    Lists and paths (`a > b`, `a|b`) are split, booleans become yes or no, years become decades.
    """
    return facets_of(facts.attributes)


def facets_of(attributes: Mapping[str, Any]) -> list[Facet]:
    """Return the facets of bare attributes, as `facets` does."""
    found: dict[Facet, None] = {}
    for name, value in attributes.items():
        if isinstance(value, bool):
            found.update({(name, "yes" if value else "no"): None})
        elif isinstance(value, str | list):
            parts = value if isinstance(value, list) else re.split(r"\s*(?:>|\|)\s*", value)
            found.update({(name, part.strip()): None for part in parts if 0 < len(part.strip()) <= _MAX_VALUE_CHARS})
        elif name in _YEARS and 1850 <= value <= 2100:
            found.update({(PERIOD, decade(value)): None})
    return list(found)


def decade(year: float) -> str:
    """Return the decade of a year: 1994 → 1990s."""
    return f"{int(year) // 10 * 10}s"
