"""The quickstart's recipe file: written whole or not at all, and used for its own files only."""

import errno
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from retort.offline.cli.main import app
from retort.offline.quickstart.recipe_file import save_recipe
from retort.shared.base.disk import DiskFullError
from retort.shared.base.errors import RecipeError
from tests.two_tastes import write_files


def test_a_recipe_that_cannot_be_written_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DiskFullError):
        save_recipe(tmp_path / "shop.toml", "[data]\n")
    assert not list(tmp_path.iterdir())


def test_an_earlier_recipe_is_not_used_for_another_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RETORT_HOME", str(tmp_path / "home"))
    write_files(tmp_path)
    (tmp_path / "other.csv").write_bytes((tmp_path / "log.csv").read_bytes())
    (tmp_path / "shop.toml").write_text('extends = "shop"\n[data.options]\ninteractions = "log.csv"\n')
    done = CliRunner().invoke(app, ["quickstart", "other.csv"])
    assert isinstance(done.exception, RecipeError)
    assert str(done.exception).startswith("shop.toml was written for log.csv, and the command names other.csv")


def test_a_time_budget_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RETORT_HOME", str(tmp_path / "home"))
    done = CliRunner().invoke(app, ["quickstart", "log.csv", "--minutes", "nan"])
    assert isinstance(done.exception, RecipeError)
    assert "minutes = nan is no time budget" in str(done.exception)
