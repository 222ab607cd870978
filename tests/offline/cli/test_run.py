"""What `retort run` and `retort status` print: the next command, steps with totals and time left."""

from datetime import timedelta
from pathlib import Path

import pytest

from retort.offline.cli import run as commands
from retort.offline.common.progress import Silent
from retort.offline.common.terminal import show_rows
from retort.offline.data.load import load_data
from retort.offline.data.split import make_split
from retort.offline.jobs.runs import RunStatus, StepStatus
from retort.offline.profiles.history import user_histories
from retort.offline.recipes.recipe import load_recipe
from retort.shared.db.models import now


def step(name: str, what: str | None, done: int, total: int | None, status: str = "running") -> StepStatus:
    return StepStatus(name, status, what, done, total, 1, now() - timedelta(seconds=90), None, None)


def submitted(*steps: StepStatus) -> RunStatus:
    return RunStatus("0123456789abcdef", "demo", {}, Path(), Path(), "running", now(), None, None, None, steps)


def test_running_steps_show_their_total_and_the_time_left() -> None:
    rows = commands._step_rows(
        submitted(
            step("train", "epoch", 8, 40), step("data", "reading x.jsonl", 60_000, None), step("split", None, 0, None)
        )
    )
    assert [row["progress"] for row in rows] == ["epoch 8 of 40 · 6 min left", "reading x.jsonl: 60,000", None]


def test_the_error_of_a_run_is_shown_whole_at_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    failed = submitted(step("train", None, 0, None, "failed"))
    row = {**commands._run_rows([failed])[0], "error": "train: the loss is not finite in epoch 3; lower learning_rate"}
    show_rows([row])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "0123456789abcdef" in shown
    assert "learning_rate" in shown


def test_a_finished_run_names_the_next_commands_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    commands._show_next(Path("runs/a bundle"), "shop.toml", Path("my data"), Path("runs"))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "retort serve --bundle 'runs/a bundle'" in printed.err
    assert "retort history load shop.toml --data 'my data' --out runs" in printed.err


def test_the_number_of_histories_is_known_before_they_are_read() -> None:
    recipe = load_recipe("demo", ["data.options.users=40"])
    interactions = load_data(recipe.data, None, Silent()).interactions
    split = make_split(interactions, recipe.split, "held")
    for histories in (user_histories(split), user_histories(split, interactions)):
        assert len(histories) == len(list(histories)) == len(list(histories)) > 0
