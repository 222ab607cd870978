"""Facets: the values of each attribute with the number of items that have them, for filters that people choose."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from retort.serving.catalogue.attributes import Attribute, Attributes, NumberAttribute, TextAttribute

MAX_VALUES = 30
MAX_FACETS = 50


@dataclass(frozen=True)
class FacetValue:
    """A value, and the number of items that have it."""

    value: str | bool
    items: int


@dataclass(frozen=True)
class Facet:
    """One attribute.

    Attributes:
        kind: How a filter compares it.
        items: Number of items that have a value.
        values: Most frequent values, at most `MAX_VALUES`; empty for numbers and times.
        n_values: Number of different values.
        low: Smallest value of a number, or of a time as ISO 8601.
        high: Largest value.
    """

    name: str
    kind: Literal["text", "number", "boolean", "time"]
    items: int
    values: tuple[FacetValue, ...] = ()
    n_values: int = 0
    low: float | str | None = None
    high: float | str | None = None


def build_facets(attributes: Attributes) -> tuple[Facet, ...]:
    """Return the facets of the first `MAX_FACETS` attributes."""
    found = ((name, attributes.get(name)) for name in attributes.names[:MAX_FACETS])
    return tuple(_facet(name, attribute) for name, attribute in found if attribute is not None)


def _facet(name: str, attribute: Attribute) -> Facet:
    if isinstance(attribute, TextAttribute):
        return _text_facet(name, attribute)
    return _boolean_facet(name, attribute) if attribute.kind == "boolean" else _range_facet(name, attribute)


def frequent_codes(attribute: TextAttribute) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the most frequent codes, at most `MAX_VALUES`, and how many items have each."""
    counts = np.bincount(attribute.distinct_codes, minlength=len(attribute.words))
    top = np.argsort(-counts, kind="stable")[:MAX_VALUES]
    return top, counts[top]


def _text_facet(name: str, attribute: TextAttribute) -> Facet:
    words = list(attribute.words)
    top, counts = frequent_codes(attribute)
    values = tuple(FacetValue(words[code], int(count)) for code, count in zip(top, counts, strict=True))
    return Facet(name, "text", int(attribute.present.sum()), values, len(words))


def _boolean_facet(name: str, attribute: NumberAttribute) -> Facet:
    counts = [(value, int((attribute.values == value).sum())) for value in (True, False)]
    values = tuple(FacetValue(value, count) for value, count in counts if count)
    return Facet(name, "boolean", int(attribute.present.sum()), values, len(values))


def _range_facet(name: str, attribute: NumberAttribute) -> Facet:
    assert attribute.kind in ("number", "time")
    present = attribute.values[attribute.present & np.isfinite(attribute.values)]
    if not len(present):
        return Facet(name, attribute.kind, 0)
    low, high = float(present.min()), float(present.max())
    if attribute.kind == "time":
        return Facet(name, "time", len(present), low=_iso(low), high=_iso(high))
    return Facet(name, "number", len(present), low=low, high=high)


def _iso(seconds: float) -> str | None:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (OverflowError, ValueError, OSError):  # a year that Python's dates do not have
        return None
