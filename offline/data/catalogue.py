"""Raw items and users → one row each, unique ids, typed attributes; what was missing or double is counted."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from retort.offline.data.attributes import infer_types
from retort.offline.data.events import id_expression, id_problem, refuse_nested, reject_bad_rows
from retort.offline.data.interactions import Items
from retort.offline.data.rejects import Rejects
from retort.offline.data.sources import RawTable
from retort.offline.data.text import item_text
from retort.shared.base.errors import DataError


@dataclass(frozen=True)
class Entities:
    """Items or users: their id, then attributes; `identical`: rows that only repeated another."""

    frame: pl.DataFrame
    identical: int
    rows_read: dict[str, int]


def clean_entities(tables: Sequence[RawTable], id_column: str, rejects: Rejects) -> Entities | None:
    """All tables of items (or users) as one, side by side where they know the same id; the earlier table wins.

    Of rows with the same id in one table the first stays; those that say otherwise are rejected.
    """
    if not tables:
        return None
    frames: list[pl.DataFrame] = []
    rows_read: dict[str, int] = {}
    lists: dict[str, str] = {}
    identical = 0
    for table in tables:
        frame = _identified(table, id_column)
        rows_read[table.file] = frame.height + rejects.count(table.file)
        problems = [(id_column, pl.col(id_column).is_null(), "missing"), id_problem(id_column)]
        good = reject_bad_rows(frame, table, problems, rejects)
        unique, n_identical = _unique(good, table, id_column, rejects)
        identical += n_identical
        lists.update(table.lists)
        frames.append(unique)
    joined = frames[0].drop("row")
    if len(frames) > 1:
        stacked = pl.concat(frames, how="diagonal_relaxed").drop("row")
        joined = stacked.group_by(id_column, maintain_order=True).agg(pl.all().drop_nulls().first())
    texts = [name for name in (id_column, "title", "text") if name in joined.columns]
    attributes = infer_types(joined.drop(texts), lists)
    frame = pl.concat([joined.select(pl.col(texts).cast(pl.String)), attributes], how="horizontal")
    return Entities(frame, identical, rows_read)


def _identified(table: RawTable, id_column: str) -> pl.DataFrame:
    schema = table.frame.collect_schema()
    refuse_nested(table, schema, (id_column, "title", "text"))
    frame = table.frame.with_columns(
        pl.col("row").cast(pl.Int64), id_expression(id_column, schema[id_column]).alias(id_column)
    ).collect(engine="streaming")
    if not frame.height:
        raise DataError(f"{table.file} has no rows; give a file with rows, or leave its name out of [data.options].")
    return frame


def _unique(frame: pl.DataFrame, table: RawTable, id_column: str, rejects: Rejects) -> tuple[pl.DataFrame, int]:
    """The first row of each id, and how many later ones said the same; those that say otherwise are rejected."""
    others = [name for name in frame.columns if name != "row"]
    distinct = frame.unique(others, keep="first", maintain_order=True)
    first = distinct.unique(id_column, keep="first", maintain_order=True)
    later = distinct.join(first.select(id_column, first_row="row"), on=id_column)
    told = later.filter(pl.col("row") > pl.col("first_row")).select(
        "row",
        pl.lit(table.name(id_column)).alias("column"),
        pl.col(id_column).alias("value"),
        pl.format("the id stands in row {} already, with other values", "first_row").alias("reason"),
    )
    rejects.add_frame(table.file, told)
    return first, frame.height - distinct.height


def make_items(
    entities: Entities | None, wanted: pl.Series, columns: Sequence[str] | None, template: str | None, keep_unseen: bool
) -> tuple[Items, int]:
    """One row for every item of the events, sorted by id, and how many of these have no metadata at all.

    wanted: ids of the events' items. keep_unseen: also the items that no event names.
    """
    ids = pl.DataFrame({"item_id": wanted.unique()})
    if entities is None:
        known = pl.DataFrame(schema={"item_id": pl.String})
    else:
        known = entities.frame if keep_unseen else entities.frame.join(ids, on="item_id", how="semi")
    missing = ids.join(known, on="item_id", how="anti")
    frame = pl.concat([known, missing], how="diagonal").sort("item_id")
    frame = frame.with_columns(_text_column(frame, "title"))
    if "text" in frame.columns:
        text = _text_column(frame, "text")
    else:
        blank_title = frame.with_columns(pl.when(pl.col("title") != "").then("title").alias("title"))
        text = item_text(blank_title, columns, template)
    attributes = [name for name in frame.columns if name not in ("item_id", "title", "text")]
    frame = frame.with_columns(text.alias("text")).select("item_id", "title", "text", *attributes)
    return Items(frame), missing.height


def _text_column(frame: pl.DataFrame, name: str) -> pl.Series:
    if name not in frame.columns:
        return pl.Series(name, [""] * frame.height, dtype=pl.String)
    return frame[name].fill_null("").str.strip_chars().alias(name)


def make_users(entities: Entities | None, wanted: pl.Series) -> tuple[pl.DataFrame | None, int]:
    """Users with events, sorted by id, and how many have none."""
    if entities is None:
        return None, 0
    ids = pl.DataFrame({"user_id": wanted.unique()})
    with_events = entities.frame.join(ids, on="user_id", how="semi").sort("user_id")
    if not with_events.height:
        theirs, ours = entities.frame["user_id"][0], wanted[0]
        raise DataError(
            f"none of the {entities.frame.height:,} users in the users' file has an event (theirs like {theirs!r}, the "
            f"events' like {ours!r}); give the file of these users, or leave it out."
        )
    return with_events, entities.frame.height - with_events.height
