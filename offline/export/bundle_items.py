"""Items of a sealed bundle together with new ones that are in no file, with texts as the bundle's recipe makes them."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from retort.offline.common.section import parse_section
from retort.offline.data.catalogue import Entities, make_items
from retort.offline.data.interactions import KNOWLEDGE, Items
from retort.offline.data.load import DataConfig
from retort.shared.base.errors import DataError
from retort.shared.base.schema import ITEM_ID, KNOWLEDGE_AT, KNOWLEDGE_SOURCE, POPULARITY, TITLE
from retort.shared.base.text import clean_text
from retort.shared.model.bundle import Bundle

_NOT_GIVEN = (POPULARITY, KNOWLEDGE_SOURCE, KNOWLEDGE_AT)


def with_new_items(bundle: Bundle, new: Sequence[Mapping[str, Any]]) -> Items:
    """Return the items of a bundle, and after them the new ones that it does not have.

    Args:
        new: item_id, title, attributes (name → value) and optionally knowledge.

    Raises:
        DataError: A value has another type than the bundle's attribute.
        RecipeError: The recipe makes texts of a column that the bundle does not keep, such as an own text.
    """
    recipe = bundle.manifest.recipe
    data = parse_section(DataConfig, dict(recipe.get("data", {})), "data")
    facets = {f"{KNOWLEDGE}_{name}" for name in dict(recipe.get("knowledge", {})).get("facets", ())}
    own = pl.DataFrame(pl.from_arrow(bundle.items)).drop(*_NOT_GIVEN, *facets, KNOWLEDGE, strict=False)
    unknown = [row for row in new if row["item_id"] not in bundle.item_index]
    added = pl.DataFrame([_column(unknown, name, dtype) for name, dtype in own.schema.items()])
    given = pl.Series(KNOWLEDGE, [_clean(row.get(KNOWLEDGE)) for row in unknown], dtype=pl.String)
    frame = pl.concat([own, added.with_columns(given)], how="diagonal")
    nothing = pl.Series(ITEM_ID, [], dtype=pl.String)
    return make_items(Entities(frame, 0, {}), nothing, data.text_columns, data.text_template, keep_unseen=True)[0]


def _column(rows: Sequence[Mapping[str, Any]], name: str, dtype: pl.DataType) -> pl.Series:
    """The values of one column in the bundle's type."""
    if name in (ITEM_ID, TITLE):
        values = [row[name] if name == ITEM_ID else _clean(row.get(name)) for row in rows]
    else:
        values = [_clean(row.get("attributes", {}).get(name)) for row in rows]
    if isinstance(dtype, pl.List):
        values = [value if value is None or isinstance(value, list) else [value] for value in values]
    try:
        if isinstance(dtype, (pl.Date, pl.Datetime)):
            return pl.Series(name, values, dtype=pl.String).str.strptime(dtype)
        return pl.Series(name, values, strict=True).cast(dtype, strict=True)
    except (pl.exceptions.PolarsError, TypeError, ValueError):
        kind = "a list of texts" if isinstance(dtype, pl.List) else str(dtype)
        raise DataError(f"the attribute {name!r} of the new items must be {kind}, as in the bundle.") from None


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    return [_clean(part) for part in value] if isinstance(value, list) else value
