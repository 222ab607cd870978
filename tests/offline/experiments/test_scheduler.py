"""The experiment: order and choice over made-up records, and one real experiment on the tiny data."""

import re
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest

from retort.offline.cli.experiment import report_experiments
from retort.offline.common.progress import Silent
from retort.offline.evaluation.compare import interval
from retort.offline.experiments import results
from retort.offline.experiments.plan_files import parse_plan
from retort.offline.experiments.report import write_report
from retort.offline.experiments.results import differences_of, load_results
from retort.offline.experiments.run_unit import Experiment, load_experiment
from retort.offline.experiments.scheduler import Record, run_inline, run_unit_in_process, run_units
from retort.offline.experiments.tables import headline_table
from retort.offline.experiments.unit import Selection, Unit
from retort.offline.experiments.verdicts import percent, verdicts
from retort.shared.base.errors import RetortError
from tests.offline.experiments.test_plan import TINY, plan

TEXT = [{"name": "text_start"}]
ARMS = [
    {"name": "plain", "objectives": []},
    {"name": "text", "objectives": TEXT},
    {
        "name": "noise",
        "objectives": TEXT,
        "set": {"teacher.item_control": "gaussian"},
        "control": True,
        "of": "text",
    },
]
TRIALS = {"trials": [{}, {"student.dropout": 0.4}]}
N_USERS = 500


def made_up(gain: dict[str, float], done: list[Unit]) -> Callable[[Experiment, Unit], "Future[Record]"]:
    """Keeps a record as a worker would: the second setting is the better one, ranks are better by `gain`."""

    def submit(experiment: Experiment, unit: Unit) -> "Future[Record]":
        done.append(unit)
        record: dict[str, Any] = {"unit": unit.as_json(), "commit": "abc", "seconds": 1.0, "protocol": "refit"}
        if unit.kind == "trial":
            record |= {"best_epoch": 3 + unit.number, "validation_ndcg": 0.1 + unit.number / 100}
        else:
            ranks = np.random.default_rng(unit.number).integers(1, 30, N_USERS)
            better = np.maximum(1, ranks - gain.get(unit.arm, 0.0)).astype(np.int64)
            frame = pl.DataFrame(
                {
                    "user_id": [f"u{n}" for n in range(N_USERS)],
                    "rank": better,
                    "history_length": np.arange(N_USERS) % 60,
                    "subset clean": np.arange(N_USERS) % 2 == 0,
                }
            )
            path = experiment.folder / "ranks" / f"{unit.name}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            frame.write_parquet(path)
            hit = float((better <= 10).mean())
            record |= {"test": {"hr@10": hit, "ndcg@10": hit / 2}, "ranks": f"ranks/{unit.name}.parquet", "views": {}}
            record |= {"cases": N_USERS, "cost": {}}
        experiment.records.save(experiment.record_of(unit), record)
        future: Future[Record] = Future()
        future.set_result(record)
        return future

    return submit


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of them is enough to tell a gain from none."""
    monkeypatch.setattr(results, "RESAMPLES", 1000)
    monkeypatch.setattr(results, "RESAMPLES_SLICE", 200)


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    return Experiment.open(plan(arms=ARMS, search=TRIALS), None, tmp_path)


def test_validation_chooses_then_each_seed_is_refitted_for_the_found_epochs(experiment: Experiment) -> None:
    done: list[Unit] = []
    run_units(experiment, Silent(), made_up({}, done), 2, Selection())
    trials = [unit for unit in done if unit.kind == "trial"]
    runs = [unit for unit in done if unit.kind == "run"]
    assert [unit.keys["training.seed"] for unit in trials] == [0] * 6
    assert {(unit.arm, unit.number) for unit in runs} == {(arm["name"], seed) for arm in ARMS for seed in (0, 1)}
    for unit in runs:
        assert unit.keys == {"training.seed": unit.number, "student.dropout": 0.4, "training.refit_epochs": 4}
        assert not experiment.recipe(unit).finds_epochs
    assert {experiment.recipe(unit).protocol for unit in trials} == {"held"}


def test_what_is_done_is_not_done_again_and_only_asked_arms_run(experiment: Experiment) -> None:
    first: list[Unit] = []
    run_units(experiment, Silent(), made_up({}, first), 1, Selection(arms=["plain"]))
    assert {unit.arm for unit in first} == {"plain", "popularity"}
    second: list[Unit] = []
    run_units(experiment, Silent(), made_up({}, second), 1, Selection())
    assert {unit.arm for unit in second} == {"text", "noise"}
    third: list[Unit] = []
    run_units(experiment, Silent(), made_up({}, third), 1, Selection(arms=["plain"]), again=True)
    assert third == first
    with pytest.raises(RetortError, match="there is no arm 'txt'"):
        run_units(experiment, Silent(), made_up({}, []), 1, Selection(arms=["txt"]))


def test_fewer_seeds_and_students_this_time_leave_the_others_for_another(tmp_path: Path) -> None:
    experiment = Experiment.open(plan(arms=ARMS, students=["sasrec", "gru4rec"]), None, tmp_path)
    done: list[Unit] = []
    run_units(experiment, Silent(), made_up({}, done), 1, Selection(students=["gru4rec"], n_seeds=1))
    runs = {(unit.student, unit.number) for unit in done if unit.kind == "run"}
    assert runs == {("gru4rec", 0)}
    run_units(experiment, Silent(), made_up({}, done), 1, Selection())
    runs = {(unit.student, unit.number) for unit in done if unit.kind == "run"}
    assert runs == {(student, seed) for student in ("sasrec", "gru4rec") for seed in (0, 1)}
    assert len(done) == len(set(done))
    with pytest.raises(RetortError, match="there is no student 'caser'; students are: sasrec, gru4rec"):
        run_units(experiment, Silent(), made_up({}, []), 1, Selection(students=["caser"]))


def test_every_row_has_its_first_seed_before_any_has_its_second(experiment: Experiment) -> None:
    done: list[Unit] = []
    run_units(experiment, Silent(), made_up({}, done), 1, Selection())
    order = [(unit.kind, unit.arm, unit.number) for unit in done]
    assert order[0][0] == "floor"
    assert order[1:4] == [("trial", "plain", 0), ("trial", "plain", 1), ("run", "plain", 0)]
    seeds = [unit.number for unit in done if unit.kind == "run"]
    assert seeds == sorted(seeds)


def test_one_arm_that_fails_does_not_stop_the_others(experiment: Experiment) -> None:
    done: list[Unit] = []
    good = made_up({}, done)

    def submit(experiment: Experiment, unit: Unit) -> "Future[Record]":
        if unit.arm != "text":
            return good(experiment, unit)
        future: Future[Record] = Future()
        future.set_exception(RetortError("no text."))
        return future

    with pytest.raises(RetortError, match=r"2 unit.s. failed.*no text"):
        run_units(experiment, Silent(), submit, 1, Selection())
    assert len([unit for unit in done if unit.kind == "run"]) == 4
    assert load_results(experiment).missing == ("text · sasrec",)


def test_the_report_tells_knowledge_from_what_a_control_shows_too(experiment: Experiment) -> None:
    def told(gain: dict[str, float]) -> str:
        run_units(experiment, Silent(), made_up(gain, []), 1, Selection(), again=True)
        found = load_results(experiment)
        return "\n".join(verdicts(found, differences_of(found)))

    knowing = told({"text": 8, "noise": 1})
    assert "text · sasrec: gain.** NDCG@10 +" in knowing
    assert "p ≤ 0.001" in knowing
    assert re.search(r"shares of this gain that controls show too: noise \d?\d%\.", knowing)
    assert "better than every control that has run; the nearest is noise, by +" in knowing
    alike = told({"text": 8, "noise": 8})
    assert "controls show too: noise 100%" in alike
    assert "**not knowledge**: not significantly better than noise" in alike
    assert "controls show too: noise none" in told({"text": 8, "noise": -3})
    nothing = told({})
    assert "no gain shown" in nothing
    assert "shares of this gain" not in nothing
    assert "loss" in told({"text": -8})


def test_one_control_may_explain_several_arms(tmp_path: Path) -> None:
    several = [*ARMS[:2], {"name": "longer text", "objectives": TEXT}, ARMS[2] | {"of": ["text", "longer text"]}]
    experiment = Experiment.open(plan(arms=several, seeds=[1, 2]), None, tmp_path)
    run_units(experiment, Silent(), made_up({"text": 8, "longer text": 4, "noise": 2}, []), 1, Selection())
    found = load_results(experiment)
    differences = differences_of(found)
    said = "\n".join(verdicts(found, differences))
    assert said.count("controls show too: noise") == 2
    assert said.count("better than every control that has run; the nearest is noise") == 2
    accuracy, noise, cost = (
        line for line in headline_table(found, differences).splitlines() if line.startswith("| noise")
    )
    assert (accuracy.count("|"), noise.count("|"), cost.count("|")) == (6, 6, 7), "six columns at most fit a phone"
    one, other = (int(share) for share in re.findall(r"(\d+)% of (?:longer )?text", noise))
    assert one < other


def test_the_report_is_markdown_parquet_and_pictures(experiment: Experiment) -> None:
    run_units(experiment, Silent(), made_up({"text": 8, "noise": 1}, []), 1, Selection())
    path = write_report(load_results(load_experiment(experiment.folder)))
    written = path.read_text(encoding="utf-8")
    assert "| noise (control) | sasrec | 2 |" in written
    assert "code abc" in written
    assert "subset clean" in written
    table = pl.read_parquet(experiment.folder / "results.parquet")
    whole = table.filter(pl.col("slice") == "all", pl.col("arm") == "text").row(0, named=True)
    assert 0 < whole["low"] < whole["difference"] < whole["high"]
    assert (experiment.folder / "arms.png").read_bytes().startswith(b"\x89PNG")


def test_one_page_holds_several_experiments(experiment: Experiment, tmp_path: Path) -> None:
    second = Experiment.open(
        parse_plan("other", experiment.plan.written | {"description": "Another"}, TINY.parent), None, tmp_path
    )
    for one in (experiment, second):
        run_units(one, Silent(), made_up({"text": 8, "noise": 1}, []), 1, Selection())
    (done,) = report_experiments([experiment.folder, second.folder], tmp_path, tmp_path / "docs" / "results.md")
    page = done.read_text(encoding="utf-8")
    assert page.count("| method | student | HR@10 | NDCG@10 | NDCG@10 compared with the baseline |") == 2
    assert page.count("| method | student | seeds | share of the gain | epochs |") == 2
    assert re.search(r"\| noise \(control\) \| sasrec \| \.?0?.* ± .* \| .* \| \+.* \[.*\], p [=≤<].* \|", page)
    assert page.count("| method | student | s per epoch | teacher, s | parameters | graph, ms |") == 2
    assert re.search(r"\| noise \(control\) \| sasrec \| 2 \| \d?\d% \|", page)
    assert "## Another\n\n`retort experiment run other`, code abc." in page
    assert str(tmp_path) not in page
    assert not list(done.parent.glob("*.new"))


def test_a_report_names_the_experiment_whose_keys_were_changed(experiment: Experiment, tmp_path: Path) -> None:
    written = experiment.plan.written | {"description": "A shop"}
    command = "run shop --set split.train_share=0.1 --name smaller"
    folders = []
    for one_plan in (
        parse_plan("shop", written, TINY.parent, "run shop"),
        parse_plan("smaller", written, TINY.parent, command),
    ):
        one = Experiment.open(one_plan, None, tmp_path)
        run_units(one, Silent(), made_up({"text": 8}, []), 1, Selection(arms=["plain", "text"]))
        folders.append(one.folder)
    (page,) = report_experiments(folders, tmp_path, tmp_path / "results.md")
    titles = re.findall(r"^## (.*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert titles == ["A shop", "A shop (smaller)"]


def test_a_page_keeps_the_sections_of_experiments_whose_runs_are_gone(experiment: Experiment, tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    second = Experiment.open(
        parse_plan("other", experiment.plan.written | {"description": "Another"}, TINY.parent), None, tmp_path
    )
    run_units(experiment, Silent(), made_up({"text": 8, "noise": 1}, []), 1, Selection(arms=["plain", "text"]))
    report_experiments([experiment.folder], tmp_path, page)
    _, first = page.read_text(encoding="utf-8").split("\n\n## ")
    run_units(second, Silent(), made_up({"text": 8, "noise": 1}, []), 1, Selection(arms=["plain", "text"]))
    report_experiments([second.folder], tmp_path, page)
    run_units(experiment, Silent(), made_up({"text": 8, "noise": 1}, []), 1, Selection())
    after = page.read_text(encoding="utf-8")
    assert f"## {first}" in after
    assert after.index(first) < after.index("## Another")
    report_experiments([experiment.folder], tmp_path, page)
    anew = page.read_text(encoding="utf-8")
    assert anew.count("\n## ") == 2
    assert anew.index("noise (control)") < anew.index("## Another")
    report_experiments([experiment.folder, second.folder], tmp_path, tmp_path / "both.md")
    report_experiments([second.folder, experiment.folder], tmp_path, page)
    assert (tmp_path / "both.md").read_text(encoding="utf-8") == page.read_text(encoding="utf-8")


@pytest.mark.parametrize("written", ["# Notes\n\nmine\n", "# Results\n\nhead\n\n## Mine\n\nwithout a command\n"])
def test_a_page_that_is_somebody_elses_is_left_alone(experiment: Experiment, tmp_path: Path, written: str) -> None:
    page = tmp_path / "notes.md"
    page.write_text(written, encoding="utf-8")
    run_units(experiment, Silent(), made_up({"text": 8}, []), 1, Selection(arms=["plain", "text"]))
    with pytest.raises(RetortError, match=r"notes\.md is no page of results; name another file"):
        report_experiments([experiment.folder], tmp_path, page)
    assert page.read_text(encoding="utf-8") == written


def test_a_folder_of_an_older_version_is_still_reported(experiment: Experiment) -> None:
    run_units(experiment, Silent(), made_up({"text": 8}, []), 1, Selection(arms=["plain", "text"]))
    for path in (experiment.folder / "records").iterdir():
        path.rename(path.with_name(path.name.rpartition("-")[0] + "-0123456789.json"))
    assert not load_results(load_experiment(experiment.folder)).rows
    said = orjson.loads((experiment.folder / "plan.json").read_bytes())
    (experiment.folder / "plan.json").write_bytes(orjson.dumps({key: said[key] for key in said if key != "files"}))
    found = load_results(load_experiment(experiment.folder))
    assert [(row.name, len(row.records)) for row in found.rows] == [("popularity", 1), ("plain", 2), ("text", 2)]


def test_a_baseline_that_found_nothing_is_no_measure_of_a_difference() -> None:
    row = {"difference": 0.01, "low": 0.0, "high": 0.02}
    assert percent({**row, "baseline": 0.0}) == "–"
    assert percent({**row, "baseline": 0.1}) == "+10.0% [+0.0%, +20.0%]"


def test_an_interval_over_seeds_is_student_s() -> None:
    mean, half = interval([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert half == pytest.approx(4.302653 / 3**0.5, rel=1e-5)
    assert interval([1.0]) == (1.0, None)


@pytest.mark.long
def test_a_real_experiment_from_data_to_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETORT_HOME", str(tmp_path / "home"))
    asked = plan(
        arms=ARMS[:2],
        seeds=[1],
        floors=["popularity", "ease", "item_knn"],
        set={"encoder.model": "tfidf", "training.epochs": 2},
        views=[{"name": "last item", "set": {"evaluation.last_items": 1}}],
    )
    experiment = Experiment.open(asked, None, tmp_path / "runs")
    scheduler = run_units(experiment, Silent(), run_inline(Silent()), 1, Selection(arms=["plain"]))
    plain = scheduler.records[Unit("run", "plain", "sasrec", 1)]
    assert plain["recipe"]["training"]["refit_epochs"] in (1, 2)
    steps = {path.name.partition("-")[0] for path in (tmp_path / "runs" / "steps").iterdir() if path.is_dir()}
    assert {"split_refit", "train", "refit", "export", "evaluate", "seal"} <= steps
    assert len([path for path in (tmp_path / "runs" / "steps").glob("train-*") if path.is_dir()]) == 1
    # the rest as a worker process does it: everything it needs lies in the folder
    trial = Unit("trial", "text", "sasrec", 0, {"training.seed": 1})
    said = run_unit_in_process(str(experiment.folder), trial.as_json())
    assert said["validation_ndcg"] > 0
    assert orjson.loads(experiment.record_of(trial).read_bytes())["best_epoch"] == said["best_epoch"]
    run_units(experiment, Silent(), run_inline(Silent()), 1, Selection())
    found = load_results(experiment)
    assert not found.missing
    taught = next(row for row in found.rows if row.name == "text").records[0]
    assert taught["cost"]["parameters"] == plain["cost"]["parameters"]
    assert abs(taught["cost"]["bundle_bytes"] - plain["cost"]["bundle_bytes"]) < 10_000
    assert taught["views"]["last item"]["test"] != taught["test"]
    assert write_report(found).is_file()


def test_a_view_that_shows_what_was_seen_keeps_the_runs_weights(tmp_path: Path) -> None:
    asked = plan(
        arms=[{"name": "plain", "objectives": []}],
        seeds=[1],
        set={"training.epochs": 1, "protocol": "held"},
        views=[{"name": "seen shown", "set": {"evaluation.hide_seen": False}}],
    )
    scheduler = run_units(
        Experiment.open(asked, None, tmp_path / "runs"), Silent(), run_inline(Silent()), 1, Selection()
    )
    run = scheduler.records[Unit("run", "plain", "sasrec", 1)]
    assert run["views"]["seen shown"]["test"] != run["test"]
    assert len([path for path in (tmp_path / "runs" / "steps").glob("train-*") if path.is_dir()]) == 1
