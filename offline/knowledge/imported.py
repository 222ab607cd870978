"""Imported item knowledge: a table of any kind with an item's id and a text on each row, joined by item id."""

from collections.abc import Sequence
from pathlib import Path

import orjson
import polars as pl

from retort.offline.common.progress import Progress
from retort.offline.data.events import collect, id_problem, refuse_nested, reject_bad_rows, with_ids
from retort.offline.data.interactions import KNOWLEDGE, Items
from retort.offline.data.rejects import Rejects
from retort.offline.data.sources import RawTable
from retort.offline.data.sources._files import read_any
from retort.offline.knowledge.config import KnowledgeConfig
from retort.offline.knowledge.report import KnowledgeReport
from retort.offline.profiles.refusals import is_refusal
from retort.offline.profiles.thoughts import cut_thoughts, has_tags
from retort.shared.base.errors import KnowledgeError
from retort.shared.base.schema import MAX_ID_LENGTH
from retort.shared.base.text import clean_text, load_json

_TEXT_COLUMNS = (KNOWLEDGE, "text")
# what a model writes, or a table holds, where nothing is known
UNKNOWN = ("unknown", "none", "n/a", "null", "nan")
_FURTHER = ("source", "written_at", "fields")  # columns that an export has, and another file may have
_SHOWN = 3  # unusable rows that are quoted


def read_knowledge(config: KnowledgeConfig, items: Items, progress: Progress) -> tuple[pl.DataFrame, KnowledgeReport]:
    """Read the texts of a file and join them to the items.

    Returns:
        item_id, knowledge, source, written_at and fields of the items that have a text, and the counts.

    Raises:
        DataError: The file is damaged.
        KnowledgeError: The file is missing, has other columns, belongs to other items, or has too many unusable rows.
    """
    if config.path is None or not config.path.is_file():
        raise KnowledgeError(f"there is no file {config.path}; set [knowledge] path to the file with the items' texts.")
    table, rejects = _raw_table(config, config.path, progress)
    rows = _checked_rows(table, rejects, config.max_chars)
    n_rows = rows.height + len(rejects)
    _refuse_too_many(config, rejects, n_rows)
    known = rows.filter(pl.col(KNOWLEDGE).is_not_null())
    matched = known.join(items.frame.select("item_id"), on="item_id", how="semi").sort("item_id")
    report = KnowledgeReport(
        backend=config.backend,
        items=items.frame.height,
        unknown=rows.height - known.height,
        not_ours=known.height - matched.height,
        rejected=len(rejects),
        examples=_quoted(rejects),
    )
    if not matched.height:
        like = next(iter(known["item_id"]), None)
        raise KnowledgeError(
            f"{config.path} has a text for none of the {report.items:,} items: its {known.height:,} ids are like "
            f"{like!r}, those of the items like {items.frame['item_id'][0]!r}; give the file that belongs to this data."
        )
    return matched.select("item_id", KNOWLEDGE, *_FURTHER), report


def _raw_table(config: KnowledgeConfig, path: Path, progress: Progress) -> tuple[RawTable, Rejects]:
    frame = read_any(path, rejects := Rejects(), progress)
    names = [name for name in frame.collect_schema().names() if name != "row"]
    if separator := _other_separator(path, names, config.id_column):
        frame = read_any(path, rejects := Rejects(), progress, separator=separator)
        names = [name for name in frame.collect_schema().names() if name != "row"]
    asked = [config.text_column] if config.text_column else list(_TEXT_COLUMNS)
    text = next((name for name in asked if name in names), None)
    if config.id_column not in names or text is None:
        key, column = ("id_column", config.id_column) if config.id_column not in names else ("text_column", asked[0])
        raise KnowledgeError(
            f"{path.name} has no column {column!r}; it has: {', '.join(names[:20]) or 'none'}. Name the right one in "
            f"[knowledge] {key}."
        )
    further = [(pl.col(name) if name in names else pl.lit(None)).alias(name) for name in (*_FURTHER, "model")]
    renamed = frame.select("row", pl.col(config.id_column).alias("item_id"), pl.col(text).alias(KNOWLEDGE), *further)
    return RawTable(path.name, renamed, {"item_id": config.id_column, KNOWLEDGE: text}), rejects


def _other_separator(path: Path, names: Sequence[str], id_column: str) -> str | None:
    """The separator of a delimited file whose header the usual one does not divide; spreadsheets write semicolons."""
    if not {".csv", ".tsv"} & set(path.suffixes) or id_column in names:
        return None
    header = ",".join(names)
    return next((mark for mark in (";", "\t", "|") if id_column in (part.strip() for part in header.split(mark))), None)


def _checked_rows(table: RawTable, rejects: Rejects, max_chars: int) -> pl.DataFrame:
    """item_id and knowledge (null: nothing is known), one row an item; of rows with the same id the first is kept."""
    refuse_nested(table, table.frame.collect_schema(), ("item_id", KNOWLEDGE))
    texts = pl.col(KNOWLEDGE, "source", "written_at", "model").cast(pl.String)
    frame = collect(table, table.frame.with_columns(pl.col("row").cast(pl.Int64), texts))
    source = pl.coalesce("source", "model", pl.lit(table.file)).str.slice(0, MAX_ID_LENGTH)
    frame = frame.with_columns(source.alias("source"), _json_column(frame["fields"]))
    frame, ids = with_ids(frame, table, ("item_id",))
    frame = frame.with_columns(*_answers(frame[KNOWLEDGE]))
    text = pl.col(KNOWLEDGE).str.replace_all(r"\s+", " ").str.strip_chars()
    frame = frame.with_columns(text.str.slice(0, max_chars).str.strip_chars_end().alias(KNOWLEDGE))
    nothing = (pl.col(KNOWLEDGE) == "") | pl.col(KNOWLEDGE).str.to_lowercase().str.strip_chars(".").is_in(UNKNOWN)
    frame = frame.with_columns(pl.when(nothing).then(None).otherwise(KNOWLEDGE).alias(KNOWLEDGE))
    problems = [
        ("item_id", pl.col("item_id").is_null(), "missing"),
        ids["item_id"].problem("item_id"),
        id_problem("item_id"),
        ("item_id", pl.col("item_id").is_first_distinct().not_(), "the id is already in an earlier row"),
        (KNOWLEDGE, pl.col("_refused"), "a refusal, or the thoughts of a model"),
    ]
    return reject_bad_rows(frame, table, problems, rejects).select("item_id", KNOWLEDGE, *_FURTHER)


def _answers(texts: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The texts without what a model thought before them, and whether each holds no answer."""
    cut = [(None, None) if text is None else cut_thoughts(clean_text(text)) for text in texts]
    refused = [bool(text and (problem or has_tags(text) or is_refusal(text))) for text, problem in cut]
    return pl.Series(KNOWLEDGE, [text for text, _ in cut], pl.String), pl.Series("_refused", refused, pl.Boolean)


def _json_column(fields: pl.Series) -> pl.Series:
    """The fields of an export as JSON (field → list of phrases), given as JSON or as an object; null for others."""
    if fields.dtype == pl.Struct:
        fields = fields.struct.json_encode()
    if fields.dtype != pl.String:
        return pl.Series("fields", [None] * len(fields), dtype=pl.String)
    return pl.Series("fields", [None if text is None else _phrases_json(text) for text in fields], dtype=pl.String)


def _phrases_json(text: str) -> str | None:
    try:
        value = load_json(text)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    listed = {str(name): each if isinstance(each, list) else [each] for name, each in value.items() if each}
    return orjson.dumps({name: [str(phrase) for phrase in each if phrase] for name, each in listed.items()}).decode()


def _quoted(rejects: Rejects) -> tuple[str, ...]:
    rows = rejects.frame().head(_SHOWN).select("file", "row", pl.col("value").fill_null("").str.strip_chars(), "reason")
    return tuple(f"{file}, row {row}: {value[:60]!r} {reason}" for file, row, value, reason in rows.iter_rows())


def _refuse_too_many(config: KnowledgeConfig, rejects: Rejects, n_rows: int) -> None:
    if len(rejects) > config.max_reject_share * n_rows:
        raise KnowledgeError(
            f"{config.path}: {len(rejects):,} of {n_rows:,} rows are unusable, more than [knowledge] max_reject_share "
            f"= {config.max_reject_share:g} allows ({'; '.join(_quoted(rejects))}); correct them, or raise it."
        )
