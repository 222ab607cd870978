"""Tables fit the terminal or become blocks, and JSON holds the same rows; progress names totals and time left."""

import io
import json
import re
from datetime import datetime

import pytest

from retort.offline.common.progress import describe_progress, describe_seconds, seconds_left
from retort.offline.common.terminal import TerminalProgress, print_json, show_rows

_ID = "0123456789abcdef"
_REASON = "the server of the model did not answer within 5 s; check OPENAI_BASE_URL " * 3


def wide_rows(n_columns: int) -> list[dict[str, object]]:
    return [{"bundle": _ID, **{f"metric_{n}@10": 0.12345 + n for n in range(n_columns)}} for _ in range(2)]


@pytest.mark.parametrize("n_columns", [1, 4, 23])
@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_name_and_no_value_is_cut_at_any_width(
    n_columns: int, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    show_rows(wide_rows(n_columns), "a title")
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown
    assert shown.count(_ID) == 2
    assert all(f"metric {n}@10" in shown and f"{0.12345 + n:.4f}" in shown for n in range(n_columns))


def test_a_pipe_gets_a_wide_table_with_one_line_a_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    show_rows([{"run": _ID, "status": "failed", "error": _REASON[:100]}] * 3)
    assert len([line for line in capsys.readouterr().out.splitlines() if _ID in line and _REASON[:99] in line]) == 3


def test_a_long_reason_takes_several_lines_and_loses_no_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    show_rows([{"run": _ID, "status": "failed", "error": _REASON}])
    shown = capsys.readouterr().out
    assert re.findall(r"[\w_;.]+", shown)[3:] == [_ID, "failed", *re.findall(r"[\w_;.]+", _REASON)]


def test_json_holds_the_values_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    row = {
        "at": datetime(2026, 1, 2, 3, 4, 5),
        "ids": ("a", "b"),
        "value": 0.123456789,
        "none": None,
        "nan": float("nan"),
    }
    show_rows([row], as_json=True)
    assert json.loads(capsys.readouterr().out) == [
        {"at": "2026-01-02T03:04:05", "ids": ["a", "b"], "value": 0.123456789, "none": None, "nan": None}
    ]
    print_json({"inner": {"value": float("inf"), "text": "é"}})
    assert json.loads(capsys.readouterr().out) == {"inner": {"value": None, "text": "é"}}


def test_no_rows_are_a_sentence_or_an_empty_array(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows([], empty="No bundle is published.")
    show_rows([], as_json=True)
    assert capsys.readouterr().out == "No bundle is published.\n[]\n"


def test_markup_in_values_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows([{"why": "[bold]x[/bold] [/red]"}], "a [title]")
    assert "[bold]x[/bold] [/red]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("done", "total", "left", "text"),
    [
        (8, 40, 360.0, "epoch 8 of 40 · 6 min left"),
        (8, 40, None, "epoch 8 of 40"),
        (40, 40, 0.0, "epoch 40 of 40"),
        (1200, None, None, "epoch: 1,200"),
        (0, None, None, "epoch"),
        (0, 0, None, "epoch 0 of 0"),
    ],
)
def test_progress_names_its_total_and_the_time_left(
    done: int, total: int | None, left: float | None, text: str
) -> None:
    assert describe_progress("epoch", done, total, left) == text


@pytest.mark.parametrize(
    ("done", "total", "text"),
    [
        (12_400_000, 1_234_000_000, "fetching x.zip 12.4 MB of 1.2 GB · 40 s left"),
        (0, 999, "fetching x.zip 0 B of 999 B · 40 s left"),
        (40_400, None, "fetching x.zip: 40 kB"),
    ],
)
def test_downloads_count_bytes(done: int, total: int | None, text: str) -> None:
    assert describe_progress("fetching x.zip", done, total, 40.0) == text


def test_the_time_left_follows_from_the_time_so_far() -> None:
    assert seconds_left(8, 40, 90.0) == 360.0
    assert [seconds_left(0, 40, 9.0), seconds_left(8, None, 9.0)] == [None, None]
    assert [describe_seconds(s) for s in (40, 360, 12_600, 259_200)] == ["40 s", "6 min", "3.5 h", "3.0 days"]


def test_bars_show_the_total(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    screen = io.StringIO()
    with TerminalProgress(Console(file=screen, force_terminal=True, width=80)) as progress:
        progress.update("epoch", 8, 40)
    assert "epoch 8 of 40" in screen.getvalue()
