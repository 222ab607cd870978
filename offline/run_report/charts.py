"""Charts as inline SVG. Colours are those of the page's style sheet, so that dark and light are one drawing.

Points are given in the units of the data; a chart has a title for screen readers and values in `<title>` elements.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 560, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 24, 34
_TICKS = 4
_MAX_DOTS = 40  # points of a line that are drawn as dots too
_MAP_WIDTH, _MAP_HEIGHT = 1120, 460


@dataclass(frozen=True)
class Series:
    """A line: its name and its points."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Interval:
    """A row of a forest plot: a value with its interval, in per cent."""

    name: str
    value: float
    low: float
    high: float
    note: str = ""


def line_chart(series: Sequence[Series], title: str, x_label: str, y_label: str, x_names: Sequence[str] = ()) -> str:
    """Return a chart of lines.

    Args:
        x_names: Names of the first and last x, in place of their numbers.
    """
    drawn = [one for one in series if one.points]
    if not drawn:
        return '<p class="none">There is nothing to draw.</p>'
    xs = [x for one in drawn for x, _ in one.points]
    ys = [y for one in drawn for _, y in one.points]
    x_range, y_range = (min(xs), max(xs)), (min(0.0, *ys), max(ys))
    parts = [_axes(x_range, y_range, x_label, y_label, x_names)]
    first = 1 if len(drawn) == 1 else 0  # a line alone has the strong colour
    for number, one in enumerate(drawn, start=first):
        path = " ".join(f"{_x(x, x_range):.1f},{_y(y, y_range):.1f}" for x, y in one.points)
        parts.append(f'<polyline class="line s{number}" points="{path}"><title>{escape(one.name)}</title></polyline>')
        if len(one.points) <= _MAX_DOTS:
            parts += [_dot(x, y, x_range, y_range, number) for x, y in one.points]
    if len(drawn) > 1:
        parts.append(_legend([one.name for one in drawn]))
    return _svg(parts, title)


def bar_chart(bars: Sequence[tuple[str, float]], title: str, y_label: str) -> str:
    """Return a chart of named bars."""
    if not bars:
        return '<p class="none">There is nothing to draw.</p>'
    y_range = (0.0, max(value for _, value in bars))
    parts = [_axes(None, y_range, "", y_label, ())]
    step = (_WIDTH - _LEFT - _RIGHT) / len(bars)
    for place, (name, value) in enumerate(bars):
        x, top = _LEFT + place * step + step * 0.12, _y(value, y_range)
        height = _HEIGHT - _BOTTOM - top
        parts.append(
            f'<rect class="bar" x="{x:.1f}" y="{top:.1f}" width="{step * 0.76:.1f}" height="{height:.1f}">'
            f"<title>{escape(name)}: {value:,.0f}</title></rect>"
            f'<text class="tick bars" text-anchor="middle" x="{x + step * 0.38:.1f}" y="{_HEIGHT - 18}">'
            f"{escape(name)}</text>"
        )
    return _svg(parts, title)


def forest_plot(rows: Sequence[Interval], title: str, x_label: str) -> str:
    """Return values with intervals beside a line at 0."""
    if not rows:
        return '<p class="none">There is nothing to draw.</p>'
    row_height, left = 26, 190
    height = row_height * len(rows) + 44
    low, high = min(0.0, *(row.low for row in rows)), max(0.0, *(row.high for row in rows))
    spread = (high - low) or 1.0

    def at(value: float) -> float:
        return left + (value - low) / spread * (_WIDTH - left - 20)

    parts = [f'<line class="zero" x1="{at(0):.1f}" x2="{at(0):.1f}" y1="4" y2="{height - 36}"/>']
    for place, row in enumerate(rows):
        y = 16 + place * row_height
        shown = f"{row.name}: {row.value:+.1f} % [{row.low:+.1f}, {row.high:+.1f}]"
        parts.append(
            f'<text class="name" x="0" y="{y + 4}">{escape(row.name)}</text>'
            f'<text class="tick" x="{left - 12}" y="{y + 4}" text-anchor="end">{escape(row.note)}</text>'
            f'<line class="line s1" x1="{at(row.low):.1f}" x2="{at(row.high):.1f}" y1="{y}" y2="{y}"/>'
            f'<circle class="dot s1" cx="{at(row.value):.1f}" cy="{y}" r="4.5"><title>{escape(shown)}</title></circle>'
        )
    for value in _ticks(low, high):
        parts.append(
            f'<text class="tick" text-anchor="middle" x="{at(value):.1f}" y="{height - 20}">{_signed(value)}</text>'
        )
    parts.append(
        f'<text class="tick" text-anchor="middle" x="{(_WIDTH + left) / 2}" y="{height - 4}">{escape(x_label)}</text>'
    )
    return _svg(parts, title, height)


def scatter_plot(points: Sequence[tuple[float, float, int, str]], groups: Sequence[str], title: str) -> str:
    """Return points (x, y, group, name) without axes; a group above the named ones is drawn grey."""
    if not points:
        return '<p class="none">There is nothing to draw.</p>'
    xs, ys = [one[0] for one in points], [one[1] for one in points]
    x_range, y_range = (min(xs), max(xs)), (min(ys), max(ys))
    parts = []
    for x, y, group, name in points:
        across = 8 + _share(x, x_range) * (_MAP_WIDTH - 16)
        down = 8 + (1 - _share(y, y_range)) * (_MAP_HEIGHT - 46)
        kind = f"g{group}" if group < len(groups) else "other"
        parts.append(
            f'<circle class="dot {kind}" cx="{across:.1f}" cy="{down:.1f}" r="2.6">'
            f"<title>{escape(name)}</title></circle>"
        )
    across = 4.0
    for number, name in enumerate(groups):
        shown = name if len(name) <= 18 else name[:17] + "…"
        parts.append(
            f'<circle class="dot g{number}" cx="{across + 5:.0f}" cy="{_MAP_HEIGHT - 14}" r="5"/>'
            f'<text class="tick" x="{across + 14:.0f}" y="{_MAP_HEIGHT - 10}">{escape(shown)}</text>'
        )
        across += 26 + 6.2 * len(shown)
    return _svg(parts, title, _MAP_HEIGHT, _MAP_WIDTH)


def _dot(x: float, y: float, x_range: tuple[float, float], y_range: tuple[float, float], number: int) -> str:
    across, down = _x(x, x_range), _y(y, y_range)
    return (
        f'<circle class="dot s{number}" cx="{across:.1f}" cy="{down:.1f}" r="3"><title>{x:g}: {y:.4g}</title></circle>'
    )


def _svg(parts: Sequence[str], title: str, height: int = _HEIGHT, width: int = _WIDTH) -> str:
    label = escape(title, quote=True)
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _axes(
    x_range: tuple[float, float] | None,
    y_range: tuple[float, float],
    x_label: str,
    y_label: str,
    x_names: Sequence[str],
) -> str:
    parts = []
    for value in _ticks(*y_range):
        y = _y(value, y_range)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" text-anchor="end" x="{_LEFT - 6}" y="{y + 4:.1f}">{_number(value)}</text>'
        )
    parts.append(f'<text class="tick" x="{_LEFT}" y="{_TOP - 11}">{escape(y_label)}</text>')
    if x_range is not None:
        names = list(x_names) or [_number(value) for value in x_range]
        parts.append(
            f'<text class="tick" x="{_LEFT}" y="{_HEIGHT - 18}">{escape(names[0])}</text>'
            f'<text class="tick" text-anchor="end" x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 18}">{escape(names[-1])}</text>'
            f'<text class="tick" text-anchor="middle" x="{_WIDTH / 2}" y="{_HEIGHT - 4}">{escape(x_label)}</text>'
        )
    return "".join(parts)


def _legend(names: Sequence[str]) -> str:
    parts, across = [], float(_LEFT + 170)
    for number, name in enumerate(names):
        parts.append(
            f'<line class="line s{number}" x1="{across:.0f}" x2="{across + 16:.0f}" y1="{_TOP - 15}" y2="{_TOP - 15}"/>'
            f'<text class="tick" x="{across + 20:.0f}" y="{_TOP - 11}">{escape(name)}</text>'
        )
        across += 40 + 6.4 * len(name)
    return "".join(parts)


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers between two values."""
    spread = high - low
    if spread <= 0:
        return [low]
    step = 10 ** math.floor(math.log10(spread / _TICKS))
    step = next(step * factor for factor in (1, 2, 5, 10) if spread / (step * factor) <= _TICKS + 0.5)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _signed(value: float) -> str:
    return f"{value:+g}" if value else "0"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.3g}"


def _share(value: float, limits: tuple[float, float]) -> float:
    return (value - limits[0]) / ((limits[1] - limits[0]) or 1.0)


def _x(value: float, limits: tuple[float, float]) -> float:
    return _LEFT + _share(value, limits) * (_WIDTH - _LEFT - _RIGHT)


def _y(value: float, limits: tuple[float, float]) -> float:
    return _HEIGHT - _BOTTOM - _share(value, limits) * (_HEIGHT - _TOP - _BOTTOM)
