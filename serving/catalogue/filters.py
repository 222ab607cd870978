"""Filter language over item attributes; a filter is checked against the bundle's columns and compiled to a mask.

    {"genre": "drama"}                         equality; for a list attribute: membership
    {"genre": ["drama", "comedy"]}             one of them
    {"year": {"gte": 1990, "lt": 2000}}        a range; further operators: gt, lte, eq, ne, in, not_in, exists
    {"expires_at": {"gt": "now"}}              times: ISO 8601 or "now"
    {"all": [...]}, {"any": [...]}, {"not": {...}}

All keys of one object must hold. An item without the attribute fails every condition except `exists: false`, `ne` and
`not_in`.
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
# For each bundle in each worker: 32 masks at a million items.
CACHE_BYTES = 32 * 1024 * 1024
# Overhead of a cache entry besides the bytes of the mask and of the key.
_ENTRY_BYTES = 512
_ORDER: dict[str, Callable[[Any, Any], Any]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
_OPERATORS = frozenset({"eq", "ne", "in", "not_in", "exists", *_ORDER})


class FilterCompiler:
    """Compiler of filters for one bundle, with a cache of recent masks."""

    def __init__(self, attributes: Attributes, clock: Callable[[], float] = time.time) -> None:
        self._attributes = attributes
        self._clock = clock
        self._cache: OrderedDict[bytes, Mask] = OrderedDict()
        self.cached_bytes = 0

    def mask(self, filter: Mapping[str, Any], where: str = "filter") -> Mask:
        """Return the (n_items + 1,) mask of the items that pass; PAD never passes.

        Args:
            where: Name of the request field, for error messages.

        Raises:
            Problem: 422 when the filter is invalid.
        """
        try:
            key = orjson.dumps(filter, option=orjson.OPT_SORT_KEYS)
        except orjson.JSONEncodeError:
            raise _invalid(where, "integers have at most 64 bits") from None
        cached = self._cache.get(key)
        if cached is not None:
            self._cache.move_to_end(key)
            return cached
        evaluator = _FilterEvaluator(self._attributes, self._clock())
        mask = evaluator.node(filter, 1, where)
        mask[0] = False
        mask.setflags(write=False)
        if not evaluator.depends_on_time:
            self._cache_mask(key, mask)
        return mask

    def _cache_mask(self, key: bytes, mask: Mask) -> None:
        """Cache a mask; the least recently used ones are evicted."""
        self._cache[key] = mask
        self.cached_bytes += _entry_bytes(key, mask)
        while self.cached_bytes > CACHE_BYTES:
            self.cached_bytes -= _entry_bytes(*self._cache.popitem(last=False))


def _entry_bytes(key: bytes, mask: Mask) -> int:
    return len(key) + mask.nbytes + _ENTRY_BYTES


class _FilterEvaluator:
    """Recursive evaluation of one filter."""

    def __init__(self, attributes: Attributes, now_s: float) -> None:
        self._attributes = attributes
        self._now_s = now_s
        self._conditions = 0
        self.depends_on_time = False

    def node(self, node: Any, depth: int, where: str) -> Mask:
        if not isinstance(node, Mapping) or not node:
            raise _invalid(where, "write an object with at least one condition")
        if depth > MAX_DEPTH:
            raise _invalid(where, f"filters are nested at most {MAX_DEPTH} levels deep")
        masks = [self._entry(key, value, depth, f"{where}.{key}") for key, value in node.items()]
        return np.logical_and.reduce(masks)

    def _entry(self, key: str, value: Any, depth: int, where: str) -> Mask:
        if key in ("all", "any"):
            if not isinstance(value, list) or not value:
                raise _invalid(where, "write a list of filters")
            combine = np.logical_and if key == "all" else np.logical_or
            parts = [self.node(part, depth + 1, f"{where}.{index}") for index, part in enumerate(value)]
            return np.asarray(combine.reduce(parts))
        if key == "not":
            return ~self.node(value, depth + 1, where)
        attribute = self._attributes.get(key)
        if attribute is None:
            known = ", ".join(self._attributes.names) or "none"
            raise _invalid(where, f"items have no such attribute; they have: {known}")
        return self._condition(attribute, value, where)

    def _condition(self, attribute: Attribute, value: Any, where: str) -> Mask:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise _invalid(where, f"at most {MAX_CONDITIONS} conditions")
        if isinstance(value, list):
            return self._matches_any(attribute, value, where)
        if not isinstance(value, Mapping):
            return self._matches_any(attribute, [value], where)
        if not value or not set(value) <= _OPERATORS:
            raise _invalid(where, f"the operators are {', '.join(sorted(_OPERATORS))}")
        parts = [self._operator(attribute, name, operand, f"{where}.{name}") for name, operand in value.items()]
        return np.asarray(np.logical_and.reduce(parts))

    def _operator(self, attribute: Attribute, name: str, operand: Any, where: str) -> Mask:
        if name == "exists":
            if not isinstance(operand, bool):
                raise _invalid(where, "write true or false")
            return attribute.present if operand else ~attribute.present
        if name in _ORDER:
            if not isinstance(attribute, NumberAttribute):
                raise _invalid(where, "only numbers and times can be compared")
            # A missing value is NaN: every comparison with it is false.
            return np.asarray(_ORDER[name](attribute.values, self._number(attribute, operand, where)))
        operands = operand if name in ("in", "not_in") else [operand]
        if not isinstance(operands, list):
            raise _invalid(where, "write a list")
        found = self._matches_any(attribute, operands, where)
        return ~found if name in ("ne", "not_in") else found

    def _matches_any(self, attribute: Attribute, values: list[Any], where: str) -> Mask:
        if len(values) > MAX_VALUES:
            raise _invalid(where, f"at most {MAX_VALUES} values")
        if isinstance(attribute, TextAttribute):
            if not all(isinstance(value, str) for value in values):
                raise _invalid(where, "this attribute is text")
            return attribute.matches_any(values)
        assert isinstance(attribute, NumberAttribute)
        return np.isin(attribute.values, [self._number(attribute, value, where) for value in values])

    def _number(self, attribute: NumberAttribute, value: Any, where: str) -> float:
        if attribute.kind == "boolean":
            if not isinstance(value, bool):
                raise _invalid(where, "this attribute is true or false")
            return float(value)
        if attribute.kind == "time" and isinstance(value, str):
            return self._time(value, where)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _invalid(where, f"this attribute is a {attribute.kind}")
        if not math.isfinite(value):  # JSON writes it as null, so the cache could not distinguish them
            raise _invalid(where, "write a finite number")
        return float(value)

    def _time(self, value: str, where: str) -> float:
        if value == "now":
            self.depends_on_time = True
            return self._now_s
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            raise _invalid(where, 'write a time as ISO 8601 with a zone, or "now"') from None
        if at.tzinfo is None:
            raise _invalid(where, "give the time zone, as in 2026-01-01T00:00:00Z")
        return at.timestamp()


def _invalid(where: str, why: str) -> Problem:
    return Problem(422, f"{where}: {why}", errors=[{"where": where, "why": why}])
