"""The generated reference pages are those of this code, whatever the environment says."""

from pathlib import Path

import pytest

from deploy.reference import pages, write

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def test_the_pages_are_up_to_date(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {"RETORT_MAX_K": "3", "REDIS_URL": "redis://127.0.0.1:1", "LOG_LEVEL": "DEBUG"}.items():
        monkeypatch.setenv(name, value)
    write(tmp_path)
    for name in pages():
        current = (REFERENCE / name).read_text(encoding="utf-8")
        assert (tmp_path / name).read_text(encoding="utf-8") == current, f"{name} is old; run `make reference`."


def test_every_option_setting_and_metric_has_a_meaning() -> None:
    rows = [line for page in pages().values() for line in page.splitlines() if line.startswith("| `")]
    assert rows
    assert [row for row in rows if row.endswith("|  |")] == []
