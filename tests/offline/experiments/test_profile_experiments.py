"""Experiments about profiles (staleness, cold start, robustness), with made-up ranks in place of training."""

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from retort.offline.cli.experiment import experiment_app as app
from retort.offline.common.progress import Silent
from retort.offline.experiments import results
from retort.offline.experiments.plan_files import read_profile_plan
from retort.offline.experiments.report import write_comparison
from retort.offline.experiments.results import load_results
from retort.offline.experiments.run_unit import Experiment, load_experiment
from retort.offline.experiments.scheduler import Record, Submit, run_units
from retort.offline.experiments.unit import Selection, Unit
from retort.shared.base.errors import RecipeError

KINDS = ("staleness", "coldstart", "robustness")
RECIPE = "beauty_sasrec_profile"
N_USERS = 1000
Row = dict[str, object]


def submit(experiment: Experiment, unit: Unit) -> "Future[Record]":
    """Save a record whose ranks are the better, the more true profiles the arm has; short histories gain most."""
    recipe = experiment.recipe(unit)
    quality = recipe.profiles.history_share * (1 - recipe.profiles.damage.share)
    if recipe.is_plain or recipe.teacher.control == "shuffled":
        quality = 0.0
    random = np.random.default_rng(3)
    lengths = random.integers(1, 130, N_USERS)
    ranks = np.maximum(1, random.integers(1, 30, N_USERS) - quality * np.where(lengths < 20, 9, 1)).astype(np.int64)
    path = experiment.folder / "ranks" / f"{unit.name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    users = [f"u{user}" for user in range(N_USERS)]
    pl.DataFrame({"user_id": users, "rank": ranks, "history_length": lengths}).write_parquet(path)
    record = {"unit": unit.as_json(), "commit": "abc", "seconds": 1.0, "protocol": "held", "best_epoch": 3}
    record |= {"validation_ndcg": 0.1, "test": {}, "views": {}, "cases": N_USERS, "cost": {}}
    record |= {"ranks": str(path.relative_to(experiment.folder))}
    experiment.records.save(experiment.record_of(unit), record)
    future: Future[Record] = Future()
    future.set_result(record)
    return future


@pytest.fixture
def compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[list[Row], Path, Path]]:
    monkeypatch.setattr(results, "RESAMPLES", 500)
    monkeypatch.setattr(results, "RESAMPLES_SLICE", 500)

    def run(kind: str, submit: Submit = submit) -> tuple[list[Row], Path, Path]:
        experiment = Experiment.open(read_profile_plan(kind, RECIPE, [], 1), None, tmp_path)
        run_units(experiment, Silent(), submit, 1, Selection())
        return write_comparison(load_results(load_experiment(experiment.folder)), tmp_path / "out", kind)

    return run


@pytest.mark.parametrize("kind", KINDS)
def test_each_writes_a_table_and_a_picture(
    kind: str, compare: Callable[[str], tuple[list[Row], Path, Path]], tmp_path: Path
) -> None:
    rows, table, picture = compare(kind)
    assert (table, picture) == (tmp_path / "out" / f"{kind}.csv", tmp_path / "out" / f"{kind}.png")
    assert pl.read_csv(table)["arm"].to_list() == [row["arm"] for row in rows]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 5000
    for row in rows:
        assert row["low"] <= row["difference"] <= row["high"]  # type: ignore[operator]


def test_older_profiles_gain_less(compare: Callable[[str], tuple[list[Row], Path, Path]]) -> None:
    rows, *_ = compare("staleness")
    gains = {str(row["arm"]): float(row["difference"]) for row in rows}  # type: ignore[arg-type]
    shares = [gains[f"profiles of {share} % of each history"] for share in (100, 90, 75, 50, 25)]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] > gains["profiles of other users"] == 0.0
    assert len(rows) == 6


def test_short_histories_are_compared_apart_from_long_ones(
    compare: Callable[[str], tuple[list[Row], Path, Path]],
) -> None:
    rows, *_ = compare("coldstart")
    by_name = {(row["arm"], row["slice"]): row for row in rows}
    gain = {key: float(row["difference"]) for key, row in by_name.items()}  # type: ignore[arg-type]
    assert gain["profiles", "history 5–9"] > gain["profiles", "history 20–49"]
    lengths = [row["users"] for (arm, name), row in by_name.items() if arm == "profiles" and name != "all"]
    assert len(lengths) == 6
    assert sum(lengths) == by_name["profiles", "all"]["users"] == N_USERS  # type: ignore[arg-type]
    assert all(one == 0.0 for (arm, _), one in gain.items() if arm == "profiles of other users")


def test_wrong_profiles_gain_nothing(compare: Callable[[str], tuple[list[Row], Path, Path]]) -> None:
    rows, *_ = compare("robustness")
    gains = {str(row["arm"]): float(row["difference"]) for row in rows}  # type: ignore[arg-type]
    assert gains["no wrong profile"] == max(gains.values()) > 0
    assert [gain for name, gain in gains.items() if "100 %" in name] == [0.0, 0.0]
    assert len(gains) == 7


def test_a_plan_takes_its_recipe_seeds_and_keys_from_the_command_line() -> None:
    plan = read_profile_plan("staleness", "beauty_sasrec_profile", ["training.epochs=3"], 2)
    assert plan.name == "staleness-beauty_sasrec_profile"
    assert plan.command == "staleness beauty_sasrec_profile --set training.epochs=3"
    assert plan.config.seeds == [0, 1]
    recipe = plan.recipe("profiles of 25 % of each history", "sasrec", {})
    assert (recipe.training.epochs, recipe.profiles.history_share) == (3, 0.25)


def test_keys_of_objectives_are_set_in_the_arms_that_have_objectives() -> None:
    plan = read_profile_plan("coldstart", "beauty_sasrec_profile", ["objectives.0.weight=0.7"], 1)
    assert plan.recipe("plain", "sasrec", {}).is_plain
    assert plan.recipe("profiles", "sasrec", {}).raw["objectives"][0]["weight"] == 0.7


def test_a_plain_recipe_is_refused() -> None:
    with pytest.raises(RecipeError, match="has no teacher"):
        read_profile_plan("staleness", "beauty_sasrec_plain", [], 1)


def test_all_take_the_same_options() -> None:
    for kind in KINDS:
        shown = CliRunner().invoke(app, [kind, "--help"], env={"COLUMNS": "120"})
        assert shown.exit_code == 0, shown.output
        assert all(option in shown.output for option in ("--data", "--out", "--to", "--set", "--seeds"))
