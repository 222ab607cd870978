"""Map of items for people: places in two dimensions, and a colour number of each item by one of its attributes."""

import numpy as np
from numpy.typing import NDArray

from retort.serving.catalogue.attributes import Attribute, Attributes, NumberAttribute, TextAttribute
from retort.serving.catalogue.facets import frequent_codes

# Colours of a number: 1 for the smallest values to 255 for the largest; 0 for items without a value.
SHADES = 255
_KEPT = 4


class ItemMap:
    """Places of the items, and their colours, which are computed at the first use of an attribute.

    Attributes:
        places: (n_items, 2), 0 to 65535.
    """

    def __init__(self, places: NDArray[np.uint16], attributes: Attributes) -> None:
        self.places = places
        self._attributes = attributes
        self._colours: dict[str, bytes] = {}

    def encoded_places(self) -> bytes:
        """Return x and y of each item as 16-bit little-endian numbers."""
        return self.places.astype("<u2").tobytes()

    def colours(self, name: str) -> bytes | None:
        """Return one byte an item, or None when the items have no such attribute.

        For texts and booleans it is the place of the item's value among the facet's values, from 1; 0 for other values
        and none. Numbers and times are shades by rank, so that a few large values do not hide the rest.
        """
        if (known := self._colours.get(name)) is not None:
            return known
        attribute = self._attributes.get(name)
        if attribute is None:
            return None
        while len(self._colours) >= _KEPT:
            self._colours.pop(next(iter(self._colours)), None)
        self._colours[name] = _colour_numbers(attribute)[1:].tobytes()
        return self._colours[name]

    def typical_place(self, item_indexes: NDArray[np.int64]) -> tuple[int, int] | None:
        """Return the place of the item that is nearest to all of some items together; None without items.

        The mean of items of two groups would lie between the groups, where nothing is.
        """
        if not len(item_indexes):
            return None
        places = self.places[item_indexes - 1].astype(np.float64)
        distances = np.sqrt(((places[:, None] - places[None]) ** 2).sum(axis=2)).sum(axis=1)
        x, y = places[distances.argmin()].tolist()
        return int(x), int(y)


def _colour_numbers(attribute: Attribute) -> NDArray[np.uint8]:
    if isinstance(attribute, TextAttribute):
        return _text_colours(attribute)
    if attribute.kind == "boolean":
        missing = np.isnan(attribute.values)
        numbers = np.where(missing, 0, np.where(attribute.values > 0, 1, 2 if (attribute.values == 1).any() else 1))
        return numbers.astype(np.uint8)
    return _shades(attribute)


def _text_colours(attribute: TextAttribute) -> NDArray[np.uint8]:
    """An item with several values has the colour of the most frequent one."""
    top, _ = frequent_codes(attribute)
    of_code = np.zeros(max(len(attribute.words), 1), dtype=np.uint8)
    of_code[top] = np.arange(1, len(top) + 1)
    rows = np.repeat(np.arange(attribute.n_rows), np.diff(attribute.starts))
    values = of_code[attribute.codes]
    order = np.argsort(
        -values.astype(np.int16), kind="stable"
    )  # the most frequent value, the smallest, is written last
    order = order[values[order] > 0]
    numbers = np.zeros(attribute.n_rows, dtype=np.uint8)
    numbers[rows[order]] = values[order]
    return numbers


def _shades(attribute: NumberAttribute) -> NDArray[np.uint8]:
    numbers = np.zeros(len(attribute.values), dtype=np.uint8)
    places = np.flatnonzero(np.isfinite(attribute.values))
    if len(places):
        values, ranks = np.unique(attribute.values[places], return_inverse=True)
        numbers[places] = 1 + ranks * (SHADES - 1) // max(len(values) - 1, 1)
    return numbers
