"""Scheduler of an experiment's units: inline, in processes of this machine, or through Celery workers.

Trials run first, then the runs of the setting that validation chose. A unit that has a record is done, so an
interrupted experiment resumes where it stopped.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from retort.offline.common.progress import Progress
from retort.offline.experiments.plan import parse_plan
from retort.offline.experiments.run_unit import Experiment, find_record, run_unit
from retort.offline.experiments.selection import Selection
from retort.offline.experiments.unit import Unit
from retort.offline.jobs.heartbeat import error_sentence
from retort.shared.base.errors import RetortError

PLAN_FILE = "plan.json"
Record = dict[str, Any]
Submit = Callable[[Experiment, Unit], "Future[Record]"]


@dataclass
class Scheduler:
    """Which units are ready, which wait for a choice, and what is known so far."""

    experiment: Experiment
    selection: Selection
    again: bool
    say: Callable[[str], None]
    ready: list[Unit] = field(default_factory=list)
    trials: dict[tuple[str, str], list[Unit]] = field(default_factory=dict)
    records: dict[Unit, Record] = field(default_factory=dict)
    failed: dict[Unit, str] = field(default_factory=dict)
    n_found: int = 0

    def start(self) -> None:
        """Look for what is done; the rest is to do, floors and trials first."""
        plan = self.experiment.plan
        for name in plan.config.floors:
            self._want(Unit("floor", name, "floor"))
        seed = {"training.seed": plan.config.seeds[0]}
        for arm, student in self.selection.rows(plan):
            units = [
                Unit("trial", arm, student, number, {**seed, **keys}) for number, keys in enumerate(plan.trials(arm))
            ]
            self.trials[arm, student] = units
            for unit in units:
                self._want(unit)
        for pair in self.trials:
            self._choose(pair)

    def done(self, unit: Unit, record: Record) -> None:
        """A unit has come to its end; its arm may be ready for its runs."""
        self.records[unit] = record
        if unit.kind == "trial":
            self._choose((unit.arm, unit.student))

    def take(self) -> Unit:
        """The next unit to do: every row with its first seed before any with its second, so that a table that was
        stopped early compares all arms with equal care."""
        return self.ready.pop(min(range(len(self.ready)), key=lambda place: self._turn(self.ready[place])))

    def _turn(self, unit: Unit) -> int:
        """Floors, then an arm's first run as soon as its trials are known, then trials, then further seeds."""
        if unit.kind != "run":
            return 0 if unit.kind == "floor" else 2
        place = self.experiment.plan.config.seeds.index(unit.number)
        return 2 + place if place else 1

    def _want(self, unit: Unit) -> None:
        found = None if self.again else find_record(self.experiment, unit)
        if found is None:
            self.ready.append(unit)
        else:
            self.records[unit] = found
            self.n_found += 1

    def _choose(self, pair: tuple[str, str]) -> None:
        """With all trials of an arm known: the best by validation NDCG@10, the earlier one where two are equal."""
        found = [(unit, self.records[unit]) for unit in self.trials[pair] if unit in self.records]
        if len(found) < len(self.trials[pair]):
            return
        unit, record = max(found, key=lambda one: one[1]["validation_ndcg"])
        plan = self.experiment.plan
        protocol = plan.recipe(unit.arm, unit.student, unit.keys).protocol
        epochs = {"training.refit_epochs": record["best_epoch"]} if protocol == "refit" else {}
        number = f"trial {unit.number} of {len(found)}, " if len(found) > 1 else ""
        self.say(
            f"{unit.arm} · {unit.student}: {number}epoch {record['best_epoch']}, "
            f"validation NDCG@10 {record['validation_ndcg']:.4f}"
        )
        for seed in self.selection.seeds(plan):
            self._want(Unit("run", unit.arm, unit.student, seed, {**unit.keys, "training.seed": seed, **epochs}))


def run_units(
    experiment: Experiment,
    progress: Progress,
    submit: Submit,
    at_once: int,
    selection: Selection,
    *,
    again: bool = False,
    log: Callable[[Unit, Record], None] = lambda unit, record: None,
    before: Callable[[], None] = lambda: None,
) -> Scheduler:
    """Do all units; a unit that fails does not stop the others. RetortError at the end names those that failed.

    log: told of each unit that is done now. before: what all units need, done once if any is to be done; where it
    fails, none is begun.
    """
    scheduler = Scheduler(experiment, selection, again, progress.say)
    scheduler.start()
    _report_found(scheduler, progress)
    if scheduler.ready:
        before()
    experiment.folder.mkdir(parents=True, exist_ok=True)
    save_plan(experiment)
    working: dict[Future[Record], Unit] = {}
    while scheduler.ready or working:
        while scheduler.ready and len(working) < at_once:
            unit = scheduler.take()
            working[submit(experiment, unit)] = unit
        finished, _ = wait(working, return_when=FIRST_COMPLETED)
        for future in finished:
            unit = working.pop(future)
            if (record := _take(scheduler, unit, future, progress)) is not None:
                log(unit, record)
            n_known = len(scheduler.records) + len(scheduler.failed)
            progress.update("experiment", n_known, n_known + len(scheduler.ready) + len(working) or None)
    if scheduler.failed:
        told = "; ".join(f"{unit.name}: {why}" for unit, why in scheduler.failed.items())
        raise RetortError(f"{len(scheduler.failed)} unit(s) failed, the others are kept. {told}")
    return scheduler


def _take(scheduler: Scheduler, unit: Unit, future: "Future[Record]", progress: Progress) -> Record | None:
    """The record of a unit that was done; None for one that failed."""
    try:
        record = future.result()
    except BrokenProcessPool:
        raise RetortError(
            "a worker process died, for lack of memory perhaps; use fewer --workers and run the same command again: "
            "what is finished is kept."
        ) from None
    except Exception as error:  # noqa: BLE001 - the other arms go on; all failures are told at the end
        scheduler.failed[unit] = error_sentence(error)
        progress.say(f"{unit.name} failed: {scheduler.failed[unit]}")
        return None
    test = record.get("test", {}).get("ndcg@10")
    shown = f"NDCG@10 {test:.4f}" if test is not None else f"validation {record.get('validation_ndcg', 0.0):.4f}"
    progress.say(f"{unit.name}: {shown}, {record['seconds']:.0f} s")
    scheduler.done(unit, record)
    return record


def _report_found(scheduler: Scheduler, progress: Progress) -> None:
    if scheduler.n_found:
        commits = sorted({str(record["commit"])[:8] for record in scheduler.records.values()})
        progress.say(
            f"{scheduler.n_found} unit(s) are done already, by code {', '.join(commits)}; --again does them anew"
        )


def save_plan(experiment: Experiment) -> None:
    """Write down what was asked, so that a report can be made from the folder alone."""
    said = {
        "name": experiment.plan.name,
        "asked": experiment.plan.asked,
        "written": experiment.plan.written,
        "beside": str(experiment.plan.beside.absolute()),
        "data": str(experiment.data.absolute()) if experiment.data else None,
        "files": experiment.files,
    }
    (experiment.folder / PLAN_FILE).write_bytes(orjson.dumps(said, option=orjson.OPT_INDENT_2))


def load_experiment(folder: Path) -> Experiment:
    """The experiment whose folder this is: OUT/experiments/NAME."""
    try:
        said = orjson.loads((folder / PLAN_FILE).read_bytes())
    except FileNotFoundError:
        raise RetortError(f"{folder} holds no experiment ({PLAN_FILE} is missing); run it first.") from None
    plan = parse_plan(said["name"], said["written"], Path(said["beside"]), said.get("asked", ""))
    data = Path(said["data"]) if said["data"] else None
    return Experiment(plan, data, folder.parent.parent, said.get("files"), older="files" not in said)


def run_inline(progress: Progress) -> Submit:
    """One after the other, in this process."""

    def submit(experiment: Experiment, unit: Unit) -> "Future[Record]":
        future: Future[Record] = Future()
        try:
            future.set_result(_in_process(experiment, unit, progress))
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for the result
            future.set_exception(error)
        return future

    return submit


@contextmanager
def run_in_processes(workers: int) -> Iterator[Submit]:
    """In so many processes of this machine, each with one thread; a log file for each unit."""
    # read by the linear algebra libraries when they are loaded, so before a process starts
    os.environ["OMP_NUM_THREADS"] = "1"
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield lambda experiment, unit: pool.submit(run_unit_in_process, str(experiment.folder), unit.as_json())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def run_unit_in_process(folder: str, unit: dict[str, Any]) -> Record:
    """What a worker does: everything it needs to know lies in the experiment's folder."""
    experiment, one = load_experiment(Path(folder)), Unit.from_json(unit)
    log = experiment.folder / "logs" / f"{one.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        return _in_process(experiment, one, _LogFile(file))


def _in_process(experiment: Experiment, unit: Unit, progress: Progress) -> Record:
    import torch

    from retort.offline.common.database import migrate_and_open
    from retort.shared.base.settings import Settings

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return run_unit(experiment, unit, migrate_and_open(Settings()), progress)
    finally:
        torch.set_num_threads(threads)  # a Celery worker has other work too


@dataclass(frozen=True)
class _LogFile:
    file: Any

    def update(self, what: str, done: int, total: int | None) -> None:
        """A file has no bars."""

    def say(self, line: str) -> None:
        self.file.write(line + "\n")
        self.file.flush()
