"""Progress and tables on a terminal. Progress goes to standard error, so that standard output is left to programs."""

import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID
from rich.table import Table
from rich.text import Text

from retort.offline.common.progress import describe_progress

# Widths in characters: of a table in a pipe, for measuring, and from which on a text is wrapped.
_PIPE_WIDTH = 200
_UNLIMITED = 10_000
_WRAPPED_FROM = 24


class _ProgressText(ProgressColumn):
    """`epoch 8 of 40 · 6 min left` next to a bar."""

    def render(self, task: Task) -> Text:
        total = None if task.total is None else int(task.total)
        return Text(describe_progress(task.description, int(task.completed), total, task.time_remaining))


class TerminalProgress:
    """One bar for each kind of work, with lines above the bars. Use as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._bars = Progress(
            BarColumn(bar_width=20),
            _ProgressText(),
            console=self.console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "TerminalProgress":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def update(self, what: str, done: int, total: int | None) -> None:
        """Move the bar of `what`; a finished bar is removed."""
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._tasks[what], completed=done, total=total)
        if total is not None and done >= total:
            self._bars.remove_task(self._tasks.pop(what))

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


def show_rows(
    rows: Sequence[Mapping[str, object]],
    title: str | None = None,
    *,
    as_json: bool = False,
    empty: str = "There are no rows.",
    formats: Mapping[str, Callable[[Any], str]] | None = None,
    stderr: bool = False,
) -> None:
    """Print rows with the same keys as a table, or as blocks where the table is wider than the terminal.

    Ids and numbers are never cut. A pipe has no width: there a table may be up to 200 columns wide.

    Args:
        as_json: Print one JSON array on standard output instead, with the rows' values as they are.
        empty: The sentence for no rows.
        formats: key → function that formats a value for the table.
        stderr: Print to standard error, because the program's output is a file or a path.
    """
    if as_json:
        print_json(list(rows))
        return
    console = Console(stderr=stderr)
    if not rows:
        console.print(empty, markup=False, highlight=False)
        return
    cells = [{key: (formats or {}).get(key, format_value)(value) for key, value in row.items()} for row in rows]
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _PIPE_WIDTH
    table = _table(cells, title)
    if console.measure(table, options=console.options.update(width=_UNLIMITED)).minimum <= console.width:
        console.print(table)
    else:
        _print_blocks(console, cells, title)


def print_json(value: object) -> None:
    """Print a value as JSON on standard output; times in ISO format."""
    sys.stdout.write(json.dumps(_finite(value), indent=2, ensure_ascii=False, default=_as_json) + "\n")


def format_value(value: object) -> str:
    """Format a value for a table: four decimals, dates to the minute, lists with commas, and – for nothing."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _finite(value: object) -> object:
    """The value with None in place of NaN and infinity, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _finite(element) for key, element in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(element) for element in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _as_json(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _table(cells: Sequence[Mapping[str, str]], title: str | None) -> Table:
    """A table in which only long texts with spaces may take several lines."""
    table = Table(title=Text(title) if title else None)
    for key in cells[0]:
        widest = max((row[key] for row in cells), key=len)
        is_text = len(widest) > _WRAPPED_FROM and " " in widest
        table.add_column(
            _header(key), overflow="fold", no_wrap=not is_text, min_width=_WRAPPED_FROM if is_text else None
        )
    for row in cells:
        table.add_row(*(Text(cell) for cell in row.values()))
    return table


def _print_blocks(console: Console, cells: Sequence[Mapping[str, str]], title: str | None) -> None:
    """Print each row as lines of `name  value`."""
    if title:
        console.print(title, markup=False, highlight=False)
    width = max(len(_header(key)) for key in cells[0])
    for row in cells:
        console.print()
        for key, cell in row.items():
            console.print(f"{_header(key):<{width}}  {cell}", markup=False, highlight=False, soft_wrap=True)


def _header(key: str) -> str:
    return key.replace("_", " ")
