"""What can be counted of an event: the categories of its item, and the decade it comes from."""

import re
from collections.abc import Mapping
from typing import Any

from retort.offline.profiles.item_facts import Facts

Facet = tuple[str, str]  # (attribute, value)

PERIOD = "period"
_YEARS = ("year", "release_year", "released")
_MAX_VALUE_CHARS = 48  # longer strings are descriptions, not categories


def facets(facts: Facts) -> list[Facet]:
    """Each category once: lists and paths (`a > b`, `a|b`) are taken apart, years become decades."""
    return facets_of(facts.attributes)


def facets_of(attributes: Mapping[str, Any]) -> list[Facet]:
    """The same of bare attributes."""
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
    """1994 → 1990s."""
    return f"{int(year) // 10 * 10}s"
