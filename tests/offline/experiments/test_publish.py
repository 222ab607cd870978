"""The table of an experiment in the database: what the console shows, without the run directory."""

import shutil
from pathlib import Path

import pytest

from retort.offline.cli.experiment_tables import publish_tables, remove_tables
from retort.offline.common.progress import Silent
from retort.offline.experiments import results
from retort.offline.experiments.publish import published_table
from retort.offline.experiments.results import load_results
from retort.offline.experiments.run_unit import Experiment
from retort.offline.experiments.scheduler import run_units
from retort.offline.experiments.unit import Selection
from retort.shared.base.errors import RetortError
from retort.shared.db import migrate
from retort.shared.db.session import open_database
from retort.shared.model.offline_results import OfflineRow, read_tables
from tests.offline.experiments.test_plan import plan
from tests.offline.experiments.test_scheduler import ARMS, TRIALS, made_up


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    monkeypatch.setattr(results, "RESAMPLES", 300)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'retort.db'}")
    return Experiment.open(plan(arms=ARMS, search=TRIALS), None, tmp_path)


def test_the_table_holds_shares_of_the_baseline_and_marks_controls(experiment: Experiment) -> None:
    run_units(experiment, Silent(), made_up({"text": 6.0}, []), 1, Selection())
    found = {row.name: row for row in published_table(load_results(experiment)).rows}
    assert list(found) == ["popularity", "plain", "text", "noise"]
    assert (found["plain"].is_baseline, found["plain"].difference, found["popularity"].student) == (True, None, None)
    text, noise = found["text"], found["noise"]
    assert text.value is not None
    assert found["plain"].value is not None
    compared = results.differences_of(load_results(experiment))["text", "sasrec"]
    assert compared is not None
    assert text.difference == pytest.approx(compared["difference"] / compared["baseline"])
    assert limits(text)[0] > 0
    assert limits(noise)[0] <= 0 <= limits(noise)[1]
    assert (noise.is_control, noise.explains, noise.seeds, noise.users) == (True, ["text"], 2, 500)


def limits(row: OfflineRow) -> tuple[float, float]:
    assert row.low is not None
    assert row.high is not None
    return row.low, row.high


def test_a_published_table_outlives_its_folder_until_it_is_removed(experiment: Experiment, tmp_path: Path) -> None:
    run_units(experiment, Silent(), made_up({}, []), 1, Selection(arms=["plain"]))
    publish_tables([experiment])
    run_units(experiment, Silent(), made_up({}, []), 1, Selection())
    name = experiment.plan.name
    assert publish_tables([experiment]) == [f"{name}: 4 rows are on the console's page Experiments"]
    shutil.rmtree(experiment.folder)
    engine = open_database(f"sqlite:///{tmp_path / 'retort.db'}")
    (table,) = read_tables(engine, "default", 10)
    assert (table.name, len(table.rows), table.missing, table.cases) == (name, 4, [], 500)
    assert read_tables(engine, "another", 10) == []
    assert remove_tables([name, "other"]) == [f"{name}: removed", "other: there is no table of this name"]
    assert read_tables(engine, "default", 10) == []
    migrate.downgrade(f"sqlite:///{tmp_path / 'retort.db'}", "r0006")
    assert read_tables(engine, "default", 10) == [], "a database of an earlier version has none"
    engine.dispose()


def test_an_experiment_without_a_run_is_refused(experiment: Experiment) -> None:
    with pytest.raises(RetortError, match="has no finished run yet"):
        publish_tables([experiment])
