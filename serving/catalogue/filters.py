"""Filters over item attributes: a small language, checked against the bundle's columns, compiled to a mask.

    {"genre": "drama"}                         equal; for a list attribute: holds it
    {"genre": ["drama", "comedy"]}             one of them
    {"year": {"gte": 1990, "lt": 2000}}        a range; also gt, lte, eq, ne, in, not_in, exists
    {"expires_at": {"gt": "now"}}              times: ISO 8601 or "now"
    {"all": [...]}, {"any": [...]}, {"not": {...}}

Several keys in one object must all hold. An item without the attribute fails every condition but `exists: false`,
`ne` and `not_in`.
"""

import math
import operator
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from retort.serving.catalogue.attributes import Attribute, Attributes, NumberAttribute, TextAttribute
from retort.serving.schemas.problems import Problem

Mask = NDArray[np.bool_]

MAX_DEPTH = 5
MAX_CONDITIONS = 100
MAX_VALUES = 1000
# Of each bundle in each worker: 32 masks at a million items.
KEPT_BYTES = 32 * 1024 * 1024
# What keeping costs beside the mask's own bytes and its key's.
_ENTRY_BYTES = 512
_ORDER: dict[str, Callable[[Any, Any], Any]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
_OPERATORS = frozenset({"eq", "ne", "in", "not_in", "exists", *_ORDER})


class Filters:
    """Compiles filters for one bundle and keeps the masks that come again."""

    def __init__(self, attributes: Attributes, clock: Callable[[], float] = time.time) -> None:
        self._attributes = attributes
        self._clock = clock
        self._kept: OrderedDict[bytes, Mask] = OrderedDict()
        self.kept_bytes = 0

    def mask(self, filter: Mapping[str, Any], where: str = "filter") -> Mask:
        """(n_items + 1,) True where an item passes; PAD never does. A wrong filter is a 422, which says `where`."""
        try:
            key = orjson.dumps(filter, option=orjson.OPT_SORT_KEYS)
        except orjson.JSONEncodeError:
            raise _wrong(where, "integers have at most 64 bits") from None
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        reading = _Reading(self._attributes, self._clock())
        mask = reading.node(filter, 1, where)
        mask[0] = False
        mask.setflags(write=False)
        if not reading.depends_on_time:
            self._keep(key, mask)
        return mask

    def _keep(self, key: bytes, mask: Mask) -> None:
        """The newest masks, as many as there is room for."""
        self._kept[key] = mask
        self.kept_bytes += _size(key, mask)
        while self.kept_bytes > KEPT_BYTES:
            self.kept_bytes -= _size(*self._kept.popitem(last=False))


def _size(key: bytes, mask: Mask) -> int:
    return len(key) + mask.nbytes + _ENTRY_BYTES


class _Reading:
    """One walk over one filter."""

    def __init__(self, attributes: Attributes, now_s: float) -> None:
        self._attributes = attributes
        self._now_s = now_s
        self._conditions = 0
        self.depends_on_time = False

    def node(self, node: Any, depth: int, where: str) -> Mask:
        if not isinstance(node, Mapping) or not node:
            raise _wrong(where, "write an object with at least one condition")
        if depth > MAX_DEPTH:
            raise _wrong(where, f"filters nest at most {MAX_DEPTH} deep")
        masks = [self._entry(key, value, depth, f"{where}.{key}") for key, value in node.items()]
        return np.logical_and.reduce(masks)

    def _entry(self, key: str, value: Any, depth: int, where: str) -> Mask:
        if key in ("all", "any"):
            if not isinstance(value, list) or not value:
                raise _wrong(where, "write a list of filters")
            combine = np.logical_and if key == "all" else np.logical_or
            parts = [self.node(one, depth + 1, f"{where}.{place}") for place, one in enumerate(value)]
            return np.asarray(combine.reduce(parts))
        if key == "not":
            return ~self.node(value, depth + 1, where)
        attribute = self._attributes.get(key)
        if attribute is None:
            known = ", ".join(self._attributes.names) or "none"
            raise _wrong(where, f"items have no such attribute; they have: {known}")
        return self._condition(attribute, value, where)

    def _condition(self, attribute: Attribute, value: Any, where: str) -> Mask:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise _wrong(where, f"at most {MAX_CONDITIONS} conditions")
        if isinstance(value, list):
            return self._one_of(attribute, value, where)
        if not isinstance(value, Mapping):
            return self._one_of(attribute, [value], where)
        if not value or not set(value) <= _OPERATORS:
            raise _wrong(where, f"the operators are {', '.join(sorted(_OPERATORS))}")
        parts = [self._operator(attribute, name, operand, f"{where}.{name}") for name, operand in value.items()]
        return np.asarray(np.logical_and.reduce(parts))

    def _operator(self, attribute: Attribute, name: str, operand: Any, where: str) -> Mask:
        if name == "exists":
            if not isinstance(operand, bool):
                raise _wrong(where, "write true or false")
            return attribute.present if operand else ~attribute.present
        if name in _ORDER:
            if not isinstance(attribute, NumberAttribute):
                raise _wrong(where, "only numbers and times have an order")
            # A missing number is not a number: every comparison with it is false.
            return np.asarray(_ORDER[name](attribute.values, self._number(attribute, operand, where)))
        operands = operand if name in ("in", "not_in") else [operand]
        if not isinstance(operands, list):
            raise _wrong(where, "write a list")
        found = self._one_of(attribute, operands, where)
        return ~found if name in ("ne", "not_in") else found

    def _one_of(self, attribute: Attribute, values: list[Any], where: str) -> Mask:
        if len(values) > MAX_VALUES:
            raise _wrong(where, f"at most {MAX_VALUES} values")
        if isinstance(attribute, TextAttribute):
            if not all(isinstance(value, str) for value in values):
                raise _wrong(where, "this attribute is text")
            return attribute.one_of(values)
        assert isinstance(attribute, NumberAttribute)
        return np.isin(attribute.values, [self._number(attribute, value, where) for value in values])

    def _number(self, attribute: NumberAttribute, value: Any, where: str) -> float:
        if attribute.kind == "boolean":
            if not isinstance(value, bool):
                raise _wrong(where, "this attribute is true or false")
            return float(value)
        if attribute.kind == "time" and isinstance(value, str):
            return self._time(value, where)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _wrong(where, f"this attribute is a {attribute.kind}")
        if not math.isfinite(value):  # nor can it be told from null where masks are kept
            raise _wrong(where, "write a finite number")
        return float(value)

    def _time(self, value: str, where: str) -> float:
        if value == "now":
            self.depends_on_time = True
            return self._now_s
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            raise _wrong(where, 'write a time as ISO 8601 with a zone, or "now"') from None
        if at.tzinfo is None:
            raise _wrong(where, "say the time's zone, as in 2026-01-01T00:00:00Z")
        return at.timestamp()


def _wrong(where: str, why: str) -> Problem:
    return Problem(422, f"{where}: {why}", errors=[{"where": where, "why": why}])
