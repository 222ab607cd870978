"""Times of a sample of values: whether a column holds times, in which unit or format."""

from dataclasses import dataclass

import polars as pl

from retort.offline.data.times import ISO, NAMES, unit_of

_DATES = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d.%m.%y")
_CLOCKS = (" %H:%M:%S", " %H:%M", "", "T%H:%M:%S", ", %H:%M:%S", ", %H:%M", " %I:%M:%S %p", " %I:%M %p", " %H:%M:%S%.f")
_NAMED = ("%d-%b-%Y", "%d %b %Y", "%d/%b/%Y", "%b %d, %Y", "%b %d %Y")
_WHOLE = ("%a, %d %b %Y %H:%M:%S GMT", "%a, %d %b %Y %H:%M:%S %z", "%d/%b/%Y:%H:%M:%S %z", "%a %b %d %H:%M:%S %Y")
_COMPACT = ("%Y%m%d%H%M%S", "%Y%m%d%H%M")
_WRITTEN = (
    r"^[A-Z][a-z]{2}\b",
    r"^\d{1,2}[ /-][A-Z][a-z]{2}\b",
    r"^\d{1,2}[./-]\d{1,2}[./-]\d{2,4}\b",
    r"^\d{4}[./]\d{1,2}[./]\d{1,2}\b",
    r"^(?:19|20)\d{6}(?:\d{4}|\d{6})?$",
)
_MIN_SHARE = 0.98  # of the values that must be times


@dataclass(frozen=True)
class Moment:
    """How times are written. format: None for numbers and ISO text. sure: False if another format fits as well."""

    note: str
    format: str | None = None
    sure: bool = True


def recognise_times(values: pl.Series) -> Moment | None:
    """Return how a column's values are written as times; None if they are no times."""
    values = values.drop_nulls()
    if not len(values) or values.dtype == pl.Boolean or values.dtype.is_nested():
        return None
    if values.dtype.is_temporal():
        return None if values.dtype in (pl.Time, pl.Duration) else Moment("typed times")
    written = [name for name in _formats() if _fits(values, name)] if _looks_written(values) else []
    if written:
        others = f"; {written[1]} fits as well" if len(written) > 1 else ""
        return Moment(f"format {written[0]}{others}", written[0], sure=len(written) == 1)
    frame = values.alias("value").to_frame()
    units = frame.select(unit=unit_of("value", values.dtype, "auto"))["unit"]
    known = units.filter(units.is_in(list(NAMES)))
    if len(known) < _MIN_SHARE * len(values) or known.n_unique() != 1:
        return None
    return Moment("ISO dates" if known[0] == ISO else f"{NAMES[known[0]]} since 1970")


def _looks_written(values: pl.Series) -> bool:
    """Whether values may be dates in another form than ISO and counts."""
    texts = values.cast(pl.String).str.strip_chars()
    pattern = "|".join(_WRITTEN)
    return bool(texts.str.contains(pattern).mean() >= _MIN_SHARE)  # type: ignore[operator]


def _formats() -> list[str]:
    return [date + clock for date in (*_DATES, *_NAMED) for clock in _CLOCKS] + [*_WHOLE, *_COMPACT]


def _fits(values: pl.Series, time_format: str) -> bool:
    texts = values.cast(pl.String).str.strip_chars()
    parsed = texts.str.to_datetime(time_format, strict=False)
    years = parsed.dt.year().drop_nulls()
    return bool(len(years) >= _MIN_SHARE * len(values) and years.is_between(1970, 2100).all())
