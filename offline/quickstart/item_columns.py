"""Columns of an items' table: id, title and the attributes that make an item's text."""

import re
from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from retort.offline.data.sources._files import is_row_number
from retort.shared.base.errors import DataError

_TITLES = re.compile(
    r"title|titel|name|item_?name|product_?name|product_?title|movie_?title|primary_?title|headline|название|наименование"
    r"|имя|nombre|nom|bezeichnung|produktname",
    re.IGNORECASE,
)
_NOT_TEXT = re.compile(
    r"(^|_)(url|uri|link|image|img|picture|photo|thumbnail|path|hash|ean|gtin|upc)($|_|s$)", re.IGNORECASE
)
_ID = re.compile(r"(^|[_ ])(id|sku|asin|isbn)", re.IGNORECASE)
# Names that people, and `layout` for a column without one, give row numbers; they may also name an attribute.
_COUNTER = re.compile(
    r"unnamed_\d+|#|no\.?|nr\.?|n|index|idx|row|rows|rank|row_?(?:num|number|id|index|nr)|rownum|rn|line|position",
    re.IGNORECASE,
)
_ALIKE = 0.8  # shares of met ids that differ by less say little: a table may lack items, and row numbers are dense
_URL = r"^\s*(?:https?://|www\.)"
_LISTS = ("|", ";")
_MAX_ATTRIBUTES = 6
_MAX_TEXT_LENGTH = 600  # characters on average; longer columns (reviews, HTML) would drown the others


def names_of_titles() -> list[str]:
    """Return the words that name a column of titles."""
    return [word for word in _TITLES.pattern.split("|") if word.isalpha()]


@dataclass(frozen=True)
class ItemColumns:
    """The columns of an items' table.

    Attributes:
        item: Column of the id.
        title: Column of the title; None if no column is one.
        attributes: Columns whose values join the title in the item's text.
        lists: Column with several values → their separator.
    """

    item: str
    title: str | None
    attributes: tuple[str, ...]
    lists: dict[str, str]


def choose_id_column(frame: pl.DataFrame, events: pl.DataFrame, file: str) -> str:
    """Return the column of the items' table whose values are in a column of the events.

    Row numbers meet whole-number ids as often as the ids themselves do, so of columns that meet about as many, the name
    decides: that of the events' column, then one of an id.

    Raises:
        DataError: No column is.
    """
    by_column = {
        name: _texts(events[name])
        for name in events.columns
        if not events[name].dtype.is_nested() and not _numbers_rows(name)
    }
    shares: dict[str, float] = {}
    for name in frame.columns:
        values = frame[name].drop_nulls()
        if values.dtype.is_nested() or values.n_unique() < len(values):
            continue
        ids = _texts(values)
        shares[name] = max(
            (len(ids & of_column) / max(1, min(len(ids), len(of_column))) for of_column in by_column.values()),
            default=0.0,
        )
    found = [name for name, share in shares.items() if share > 0 and share >= _ALIKE * max(shares.values())]
    best = min(found, key=lambda name: (_name_rank(name, by_column), -shares[name]), default=None)
    if best is None:
        best = next((name for name in frame.columns if _ID.search(name)), None)
    if best is None:
        raise DataError(
            f"{file}: no column holds ids of the events' items (its columns: {', '.join(frame.columns[:20])}); check "
            "that the two files belong together, or leave the items' file out."
        )
    return best


def _numbers_rows(name: str) -> bool:
    return is_row_number(name) or bool(_COUNTER.fullmatch(name))


def _name_rank(name: str, of_events: Collection[str]) -> int:
    """How likely a name is that of the id, 0 the most: the events' name, an id's, any other, that of row numbers."""
    if _numbers_rows(name):
        return 3
    if name.strip().lower() in {other.strip().lower() for other in of_events}:
        return 0
    return 1 if _ID.search(name) else 2


def ids_of(frame: pl.DataFrame, column: str) -> frozenset[str]:
    """Return the ids of a column as text."""
    return frozenset(_texts(frame[column]))


def choose_item_columns(frame: pl.DataFrame, item: str) -> ItemColumns:
    """Choose title and attributes of an items' table."""
    others = [name for name in frame.columns if name != item]
    title = next((name for name in others if _TITLES.fullmatch(name.partition(":")[0])), None)
    texts = [name for name in others if name != title and _is_text(frame[name])]
    if title is None:
        # the column with the most different values that are short texts
        candidates = [name for name in texts if _mean_length(frame[name]) >= 3]
        title = max(candidates, key=lambda name: frame[name].n_unique(), default=None)
        texts = [name for name in texts if name != title]
    attributes = tuple(sorted(texts, key=lambda name: _mean_length(frame[name]))[:_MAX_ATTRIBUTES])
    lists = {name: separator for name in attributes if (separator := _list_separator(frame[name]))}
    return ItemColumns(item, title, attributes, lists)


def _texts(values: pl.Series) -> set[str]:
    return set(values.drop_nulls().cast(pl.String).str.strip_chars().unique().to_list())


def _is_text(values: pl.Series) -> bool:
    known = values.drop_nulls()
    if known.dtype != pl.String or not len(known) or _NOT_TEXT.search(values.name) or known.n_unique() < 2:
        return False
    if known.str.contains(_URL).mean() > 0.5:  # type: ignore[operator]
        return False
    if known.n_unique() > 0.9 * len(known) and known.str.contains(r"\s").mean() < 0.1:  # type: ignore[operator]
        return False  # codes
    has_words = known.str.contains(r"\p{L}{2}").mean() > 0.5  # type: ignore[operator]
    return bool(has_words) and _mean_length(known) <= _MAX_TEXT_LENGTH


def _mean_length(values: pl.Series) -> float:
    known = values.drop_nulls()
    return float(known.cast(pl.String).str.len_chars().mean() or 0.0) if len(known) else 0.0  # type: ignore[arg-type]


def _list_separator(values: pl.Series) -> str | None:
    """Return the separator of a column such as "Drama|Comedy"; None for single values."""
    known = values.drop_nulls()
    for separator in _LISTS:
        if known.str.contains(separator, literal=True).mean() > 0.2:  # type: ignore[operator]
            return separator
    return None
