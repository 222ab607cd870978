"""The text of an item: what an encoder or a prompt reads about it."""

from collections.abc import Sequence
from string import Formatter

import polars as pl

from retort.shared.base.errors import RecipeError


def item_text(frame: pl.DataFrame, columns: Sequence[str] | None, template: str | None) -> pl.Series:
    """One text an item, "" where none of the columns it is made of has a value.

    template: like "{title} ({year}). {plot}", empty for unknown values. Else the named columns (unset: title
    and all attributes), all but the title after their names.
    """
    named = [name for name in frame.columns if name not in ("item_id", "text")]
    if template is not None:
        return _filled(frame, template, named)
    chosen = list(columns) if columns is not None else named
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


def as_text(frame: pl.DataFrame, name: str) -> pl.Expr:
    """A column as text: lists joined by commas, blanks null."""
    column = pl.col(name)
    text = column.list.join(", ", ignore_nulls=True) if frame.schema[name] == pl.List else column.cast(pl.String)
    return pl.when(text != "").then(text)


def _refuse_unknown(chosen: Sequence[str], named: Sequence[str], key: str) -> None:
    for name in chosen:
        if name not in named:
            known = ", ".join(named) or "none"
            raise RecipeError(f"[data] {key} names {name!r}, which the items do not have; their columns: {known}.")
