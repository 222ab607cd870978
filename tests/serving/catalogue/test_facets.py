"""Facets: values and counts of each attribute, which filters accept as they are."""

from pathlib import Path

from retort.serving.catalogue.catalogue import Catalogue
from retort.serving.catalogue.facets import Facet
from retort.shared.model.bundle import open_bundle


def facets(path: Path) -> dict[str, Facet]:
    return {facet.name: facet for facet in Catalogue(open_bundle(path)).facets}


def test_counts_are_those_of_the_filter(bundle_path: Path) -> None:
    catalogue = Catalogue(open_bundle(bundle_path))
    for facet in catalogue.facets:
        for value in facet.values:
            assert int(catalogue.filters.mask({facet.name: value.value}).sum()) == value.items, (facet.name, value)
        assert int(catalogue.filters.mask({facet.name: {"exists": True}}).sum()) == facet.items


def test_each_kind_has_its_values_or_its_range(bundle_path: Path) -> None:
    found = facets(bundle_path)
    assert {name: facet.kind for name, facet in found.items()} == {
        "popularity": "number",
        "title": "text",
        "genre": "text",
        "tags": "text",
        "year": "number",
        "price": "number",
        "available": "boolean",
        "expires_at": "time",
    }
    assert [value.items for value in found["genre"].values] == [20, 20, 20]
    assert (found["year"].low, found["year"].high, found["year"].values) == (1980, 2019, ())
    assert found["available"].values[0].value is True
    assert found["expires_at"].low == "2020-01-01T00:00:00+00:00"
    assert (found["title"].n_values, len(found["title"].values)) == (60, 30)
