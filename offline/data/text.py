"""Item text: what encoders and prompts read about an item."""

from collections.abc import Sequence
from string import Formatter

import polars as pl

from retort.offline.data.interactions import KNOWLEDGE
from retort.shared.base.errors import RecipeError


def item_text(frame: pl.DataFrame, columns: Sequence[str] | None, template: str | None) -> pl.Series:
    """Return one text for each item, "" where none of its columns has a value.

    Args:
        columns: Columns of the text, each after its name except the title; None: title and all attributes, without
            the item knowledge.
        template: Format such as "{title} ({year}). {plot}", empty for unknown values; replaces `columns`.

    Raises:
        RecipeError: A column does not exist, or the template is malformed.
    """
    named = [name for name in frame.columns if name not in ("item_id", "text")]
    by_default = [name for name in named if name != KNOWLEDGE]
    if template is not None:
        return _filled(frame, template, named)
    chosen = list(columns) if columns is not None else by_default
    _refuse_unknown(chosen, named, "text_columns")
    parts = []
    for name in chosen:
        value = as_text(frame, name)
        parts.append(value if name == "title" else pl.format("{}: {}", pl.lit(name.replace("_", " ")), value))
    if not parts:
        return pl.Series("text", [""] * frame.height, dtype=pl.String)
    joined = pl.concat_str(parts, separator=". ", ignore_nulls=True).fill_null("")
    return frame.select(joined.alias("text"))["text"]


def _filled(frame: pl.DataFrame, template: str, named: Sequence[str]) -> pl.Series:
    try:
        pieces = [(literal, field) for literal, field, _, _ in Formatter().parse(template)]
    except ValueError as error:
        raise RecipeError(f"[data] text_template = {template!r}: {error}; write columns as {{title}}.") from None
    fields = [field for _, field in pieces if field is not None]
    _refuse_unknown(fields, named, "text_template")
    parts = []
    for literal, field in pieces:
        parts.append(pl.lit(literal))
        if field is not None:
            parts.append(as_text(frame, field).fill_null(""))
    known = pl.any_horizontal([as_text(frame, field).is_not_null() for field in fields]) if fields else pl.lit(False)
    text = pl.when(known).then(pl.concat_str(parts).str.strip_chars()).otherwise(pl.lit(""))
    return frame.select(text.alias("text"))["text"]


def reads_knowledge(columns: Sequence[str] | None, template: str | None) -> bool:
    """Return whether an item's text is made from its knowledge, among other columns."""
    if template is None:
        return KNOWLEDGE in (columns or ())
    try:
        return any(field == KNOWLEDGE for _, field, _, _ in Formatter().parse(template))
    except ValueError:
        return False  # `item_text` reports a malformed template


def as_text(frame: pl.DataFrame, name: str) -> pl.Expr:
    """Return a column as text: lists joined by commas, blanks null."""
    column = pl.col(name)
    text = column.list.join(", ", ignore_nulls=True) if frame.schema[name] == pl.List else column.cast(pl.String)
    return pl.when(text != "").then(text)


def _refuse_unknown(chosen: Sequence[str], named: Sequence[str], key: str) -> None:
    for name in chosen:
        if name not in named:
            known = ", ".join(named) or "none"
            raise RecipeError(f"[data] {key} names {name!r}, which the items do not have; their columns: {known}.")
