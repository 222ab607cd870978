"""Quoted values that have swallowed rows: an open quote can end at another row's quote as if it were right."""

import re
from collections.abc import Sequence

import polars as pl

from retort.shared.base.errors import DataError

_MANY_LINES = 5  # line ends in one value; more are suspicious where each line has the fields of a row
_SAMPLE = 1_000
_COMMON_FORM = 0.9  # share of a column's values that have one form, as ids and times do
_RUNS = ((re.compile(r"[^\W\d_]+"), "a"), (re.compile(r"\d+"), "9"))


def refuse_swallowed_rows(file: str, frame: pl.DataFrame, delimiter: str) -> None:
    """Raise DataError for a quoted value whose lines are rows of the table.

    Lines are rows if there are many and each has a row's fields, or if there are some whose fields also have the form
    of the columns in which they would be: ids and times do not continue a text.
    """
    n_columns = frame.width
    if n_columns < 2:
        return
    forms: dict[str, str] | None = None
    for column, name in enumerate(frame.columns):
        values = (
            frame.select(pl.col(name)).with_row_index("place").filter(pl.col(name).str.contains("\n", literal=True))
        )
        for place, value in values.iter_rows():
            lines = value.splitlines()
            counts = [line.count(delimiter) for line in lines]
            if any(count != n_columns - 1 for count in counts[1:-1]):
                continue
            is_certain = len(lines) > _MANY_LINES + 1
            if not is_certain and (counts[0], counts[-1]) == (n_columns - 1 - column, column):
                forms = forms or {each: _common_form(frame[each]) for each in frame.columns}
                is_certain = _continue_rows(lines, column, list(forms.values()), delimiter)
            if is_certain:
                raise DataError(
                    f"{file}, record {place + 1}, column {name!r}: a quoted value contains {len(lines) - 1:,} lines "
                    f"that look like rows ({lines[1][:80]!r}); close the quote that opens the value."
                )


def _continue_rows(lines: Sequence[str], column: int, forms: Sequence[str], delimiter: str) -> bool:
    """Whether the fields of the lines have the forms of their columns; the first line begins in `column`."""
    first, *inner, last = (line.split(delimiter) for line in lines)
    compared = [*zip(first[1:], forms[column + 1 :], strict=True), *zip(last[:-1], forms[:column], strict=True)]
    compared += [pair for line in inner for pair in zip(line, forms, strict=True)]
    known = [(field, form) for field, form in compared if form]
    return bool(known) and all(_form(field) == form for field, form in known)


def _common_form(values: pl.Series) -> str:
    """Return the form that nearly all values of a column have; empty for free text."""
    forms = [_form(value) for value in values.drop_nulls().head(_SAMPLE)]
    common = max(set(forms), key=forms.count, default="")
    return common if forms.count(common) >= _COMMON_FORM * len(forms) and " " not in common else ""


def _form(value: str) -> str:
    """Return a value's form: u12-7 → a9-9."""
    for run, letter in _RUNS:
        value = run.sub(letter, value)
    return value.strip(' "')
