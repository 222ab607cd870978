"""Names that a catalogue knows: its brands, its categories, and the first words of titles, which often are brands."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retort.offline.data.interactions import Items
from retort.offline.profiles.item_facts import Facts, facets_of
from retort.offline.profiles.vocabulary import stems

BRAND_ATTRIBUTES = frozenset(
    ("brand", "brand_name", "manufacturer", "maker", "label", "publisher", "author", "authors", "artist", "artists",
     "director", "directors", "studio", "employer", "company", "store")
)  # fmt: skip
CATEGORY_ATTRIBUTES = frozenset(("category", "categories", "genre", "genres", "product_type", "department"))
_LEADING_WORDS = 3


@dataclass(frozen=True)
class CatalogueNames:
    """Normalised names of a catalogue.

    Attributes:
        brands: Values of the brand attributes.
        categories: Values of the category attributes, each part of a path on its own.
        openings: The first one to three words of the titles, and whole titles.
    """

    brands: frozenset[str]
    categories: frozenset[str]
    openings: frozenset[str]

    def knows(self, name: str) -> bool:
        """Whether an item of the catalogue has this brand, or a title that is or begins with it."""
        normal = normal_name(name)
        return normal in self.brands or normal in self.openings


def normal_name(name: str) -> str:
    """Return a name without case, marks and plural endings."""
    return " ".join(stems(name))


def read_names(items: Items) -> CatalogueNames:
    """Read the names of all items."""
    columns = [name for name in items.attributes if name.lower() in BRAND_ATTRIBUTES]
    brands = {
        normal_name(brand)
        for column in columns
        for value in items.frame[column].drop_nulls().unique().to_list()
        for brand in _listed(value)
    }
    categories: set[str] = set()
    for column in (name for name in items.attributes if name.lower() in CATEGORY_ATTRIBUTES):
        for value in items.frame[column].drop_nulls().unique().to_list():
            categories |= categories_of({column: value})
    openings: set[str] = set()
    for title in items.frame["title"].unique():
        own = stems(title)
        openings.update(" ".join(own[:n]) for n in (*range(1, _LEADING_WORDS + 1), len(own)))
    return CatalogueNames(frozenset(brands - {""}), frozenset(categories), frozenset(openings - {""}))


def own_brands(facts: Facts) -> frozenset[str]:
    """Return the normalised brands that an item's attributes give."""
    return brands_of(facts.attributes)


def brands_of(attributes: Mapping[str, Any]) -> frozenset[str]:
    """Return the normalised brands among attributes."""
    named = [value for name, value in attributes.items() if name.lower() in BRAND_ATTRIBUTES]
    return frozenset(normal_name(brand) for value in named for brand in _listed(value)) - {""}


def categories_of(attributes: Mapping[str, Any]) -> frozenset[str]:
    """Return the normalised categories among attributes."""
    found = facets_of({name: value for name, value in attributes.items() if name.lower() in CATEGORY_ATTRIBUTES})
    return frozenset(normal_name(value) for _, value in found) - {""}


def _listed(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]
