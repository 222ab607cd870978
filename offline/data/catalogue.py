"""Items and users: raw tables → one row for each id, typed attributes, counts of missing and duplicate rows."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from retort.offline.data.attributes import infer_types
from retort.offline.data.events import collect, id_problem, refuse_nested, reject_bad_rows, with_ids
from retort.offline.data.ids import Ids
from retort.offline.data.interactions import KNOWLEDGE, Items
from retort.offline.data.rejects import Rejects
from retort.offline.data.sources import RawTable
from retort.offline.data.text import item_text, reads_knowledge
from retort.shared.base.errors import DataError, RecipeError
from retort.shared.base.text import CONTROLS_IN_PROSE

_ENTITY = r"&(?:#\d+|#[xX][0-9a-fA-F]+|[A-Za-z][A-Za-z0-9]{1,30});"


@dataclass(frozen=True)
class Entities:
    """Items or users: the id, then attributes.

    Attributes:
        identical: Rows that only repeated another row.
        rows_read: file → rows, rejected ones included.
    """

    frame: pl.DataFrame
    identical: int
    rows_read: dict[str, int]


def clean_entities(tables: Sequence[RawTable], id_column: str, rejects: Rejects) -> Entities | None:
    """Combine all tables of items (or users) by id; where two give the same column, the earlier table wins.

    Of rows with the same id in one table the first is kept; different later ones are rejected.

    Raises:
        DataError: A table has no rows, or nested values where single ones are required.
    """
    if not tables:
        return None
    frames: list[pl.DataFrame] = []
    rows_read: dict[str, int] = {}
    lists: dict[str, str] = {}
    identical = 0
    for table in tables:
        frame, ids = _with_ids(table, id_column)
        rows_read[table.file] = frame.height + rejects.count(table.file)
        problems = [(id_column, pl.col(id_column).is_null(), "missing"), ids.problem(id_column), id_problem(id_column)]
        good = reject_bad_rows(frame, table, problems, rejects)
        unique, n_identical = _drop_duplicates(good, table, id_column, rejects)
        identical += n_identical
        lists.update(table.lists)
        frames.append(unique)
    joined = frames[0].drop("row")
    if len(frames) > 1:
        stacked = pl.concat(frames, how="diagonal_relaxed").drop("row")
        joined = stacked.group_by(id_column, maintain_order=True).agg(pl.all().drop_nulls().first())
    joined = unescape(joined, id_column)
    texts = [name for name in _text_columns(id_column) if name in joined.columns]
    attributes = infer_types(joined.drop(texts), lists)
    frame = pl.concat([joined.select(pl.col(texts).cast(pl.String)), attributes], how="horizontal")
    frame = frame.with_columns(_without_controls(frame.drop(id_column)))
    return Entities(frame, identical, rows_read)


def _text_columns(id_column: str) -> tuple[str, ...]:
    """Columns that hold one text each; users have no knowledge of this kind."""
    return (id_column, "title", "text", *([KNOWLEDGE] if id_column == "item_id" else []))


def unescape(frame: pl.DataFrame, id_column: str) -> pl.DataFrame:
    """Replace HTML entities in texts and lists of texts, as in `Tom &amp; Jerry`; ids stay as they are."""
    for name in frame.columns:
        column = frame[name]
        is_list = column.dtype == pl.List(pl.String)
        if name == id_column or not (column.dtype == pl.String or is_list):
            continue
        values = (column.explode() if is_list else column).unique().drop_nulls()
        escaped = values.filter(values.str.contains(_ENTITY))
        if not len(escaped):
            continue
        plain = pl.Series([html.unescape(value).replace("\u00a0", " ") for value in escaped], dtype=pl.String)
        replaced = pl.element().replace(escaped, plain) if is_list else pl.col(name).replace(escaped, plain)
        frame = frame.with_columns(pl.col(name).list.eval(replaced) if is_list else replaced)
    return frame


def _without_controls(frame: pl.DataFrame) -> list[pl.Expr]:
    """Text columns without the characters that a database, a log or a terminal refuses or obeys."""
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    lists = [name for name, dtype in frame.schema.items() if dtype == pl.List(pl.String)]
    cleaned = pl.element().str.replace_all(CONTROLS_IN_PROSE, "")
    return [pl.col(texts).str.replace_all(CONTROLS_IN_PROSE, ""), pl.col(lists).list.eval(cleaned)]


def _with_ids(table: RawTable, id_column: str) -> tuple[pl.DataFrame, Ids]:
    schema = table.frame.collect_schema()
    refuse_nested(table, schema, _text_columns(id_column))
    frame = collect(table, table.frame.with_columns(pl.col("row").cast(pl.Int64)))
    if not frame.height:
        raise DataError(f"{table.file} has no rows; give a file with rows, or remove its name from [data.options].")
    frame, ids = with_ids(frame, table, (id_column,))
    return frame, ids[id_column]


def _drop_duplicates(
    frame: pl.DataFrame, table: RawTable, id_column: str, rejects: Rejects
) -> tuple[pl.DataFrame, int]:
    """The first row of each id, and the number of identical later rows; different later rows are rejected."""
    others = [name for name in frame.columns if name != "row"]
    distinct = frame.unique(others, keep="first", maintain_order=True)
    first = distinct.unique(id_column, keep="first", maintain_order=True)
    later = distinct.join(first.select(id_column, first_row="row"), on=id_column)
    rejected = later.filter(pl.col("row") > pl.col("first_row")).select(
        "row",
        pl.lit(table.name(id_column)).alias("column"),
        pl.col(id_column).alias("value"),
        pl.format("the id is already in row {}, with other values", "first_row").alias("reason"),
    )
    rejects.add_frame(table.file, rejected, tolerated=True)
    return first, frame.height - distinct.height


def make_items(
    entities: Entities | None,
    item_ids: pl.Series,
    columns: Sequence[str] | None,
    template: str | None,
    keep_unseen: bool,
) -> tuple[Items, int]:
    """Return one row for every item of the events, sorted by id, and the number of items without metadata.

    Args:
        item_ids: Item ids of the events.
        columns: Columns of an item's text, see `item_text`; so is `template`.
        keep_unseen: Also keep the items without events.

    Raises:
        DataError: No item has an event.
        RecipeError: `columns` or `template` names a column that does not exist or cannot be used.
    """
    ids = pl.DataFrame({"item_id": item_ids.unique()})
    if entities is None:
        known = pl.DataFrame(schema={"item_id": pl.String})
    else:
        matched = entities.frame.join(ids, on="item_id", how="semi")
        if len(ids) and not matched.height:
            raise DataError(_no_match("items", entities.frame["item_id"], item_ids))
        known = entities.frame if keep_unseen else matched
    without_metadata = ids.join(known, on="item_id", how="anti")
    frame = pl.concat([known, without_metadata], how="diagonal").sort("item_id")
    frame = frame.with_columns(_text_column(frame, "title"))
    frame = frame.with_columns(_knowledge_column(frame))
    if "text" in frame.columns and reads_knowledge(columns, template):
        raise RecipeError(
            "[data] text_template and text_columns cannot add knowledge to items that have a text column of their own; "
            "rename that column and name it in text_template."
        )
    text = _text_column(frame, "text") if "text" in frame.columns else made_text(frame, columns, template)
    known_columns = ("item_id", "title", "text", *([KNOWLEDGE] if frame[KNOWLEDGE].count() else []))
    attributes = [name for name in frame.columns if name not in (*known_columns, KNOWLEDGE)]
    return Items(frame.with_columns(text.alias("text")).select(*known_columns, *attributes)), without_metadata.height


def made_text(frame: pl.DataFrame, columns: Sequence[str] | None, template: str | None) -> pl.Series:
    """Return the items' texts made from their other columns, as `item_text` does; a blank title is unknown."""
    blank_title = frame.with_columns(pl.when(pl.col("title") != "").then("title").alias("title"))
    return item_text(blank_title, columns, template)


def _knowledge_column(frame: pl.DataFrame) -> pl.Series:
    """The items' own column of knowledge, blanks null; null throughout where they have none."""
    if KNOWLEDGE not in frame.columns:
        return pl.Series(KNOWLEDGE, [None] * frame.height, dtype=pl.String)
    stripped = frame[KNOWLEDGE].str.strip_chars()
    return stripped.set((stripped == "").fill_null(False), None)


def _text_column(frame: pl.DataFrame, name: str) -> pl.Series:
    if name not in frame.columns:
        return pl.Series(name, [""] * frame.height, dtype=pl.String)
    return frame[name].fill_null("").str.strip_chars().alias(name)


def make_users(entities: Entities | None, user_ids: pl.Series) -> tuple[pl.DataFrame | None, int]:
    """Return the users with events, sorted by id, and the number of users without.

    Args:
        user_ids: User ids of the events.

    Raises:
        DataError: No user has an event.
    """
    if entities is None:
        return None, 0
    ids = pl.DataFrame({"user_id": user_ids.unique()})
    with_events = entities.frame.join(ids, on="user_id", how="semi").sort("user_id")
    if not with_events.height:
        raise DataError(_no_match("users", entities.frame["user_id"], user_ids))
    return with_events, entities.frame.height - with_events.height


def _no_match(what: str, ids: pl.Series, event_ids: pl.Series) -> str:
    """Say that a table belongs to other events, with ids of both."""
    own, events = (", ".join(map(repr, some.unique(maintain_order=True).head(3))) for some in (ids, event_ids))
    return (
        f"none of the {len(ids):,} {what} in the {what}' file has an event: their ids are like {own}, those of the "
        f"events like {events}; name the column with the same ids, give the file that belongs to the events, or remove "
        "it."
    )
