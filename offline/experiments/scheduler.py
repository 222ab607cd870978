"""Scheduler of an experiment's units: inline, in processes of this machine, or through Celery workers.

Trials run first, then the runs of the setting that validation selected. A unit that has a record is done, so an
interrupted experiment resumes where it stopped.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from retort.offline.common.progress import Progress
from retort.offline.experiments.run_unit import Experiment, find_record, load_experiment, run_unit, save_plan
from retort.offline.experiments.unit import Selection, Unit
from retort.offline.jobs.heartbeat import error_sentence
from retort.offline.local.subprocesses import process_pool
from retort.shared.base.errors import RetortError

Record = dict[str, Any]
Submit = Callable[[Experiment, Unit], "Future[Record]"]


@dataclass
class Scheduler:
    """State of an experiment: the units that are ready, the trials that runs wait for, and the records so far."""

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
        """Read finished records and queue floors and trials; arms whose trials are all known queue their runs."""
        plan = self.experiment.plan
        for name in plan.config.floors:
            self._queue(Unit("floor", name, "floor"))
        seed = {"training.seed": plan.config.seeds[0]}
        for arm, student in self.selection.rows(plan):
            units = [
                Unit("trial", arm, student, number, {**seed, **keys}) for number, keys in enumerate(plan.trials(arm))
            ]
            self.trials[arm, student] = units
            for unit in units:
                self._queue(unit)
        for pair in self.trials:
            self._select_trial(pair)

    def finish(self, unit: Unit, record: Record) -> None:
        """Store the record of a finished unit; its arm may become ready for its runs."""
        self.records[unit] = record
        if unit.kind == "trial":
            self._select_trial((unit.arm, unit.student))

    def take(self) -> Unit:
        """Remove the next unit from the queue.

        Every row gets its first seed before any gets its second, so that a table that was stopped early compares all
        arms on equal terms.
        """
        return self.ready.pop(min(range(len(self.ready)), key=lambda place: self._priority(self.ready[place])))

    def _priority(self, unit: Unit) -> int:
        """Floors, then an arm's first run as soon as its trials are known, then trials, then further seeds."""
        if unit.kind != "run":
            return 0 if unit.kind == "floor" else 2
        place = self.experiment.plan.config.seeds.index(unit.number)
        return 2 + place if place else 1

    def _queue(self, unit: Unit) -> None:
        record = None if self.again else find_record(self.experiment, unit)
        if record is None:
            self.ready.append(unit)
        else:
            self.records[unit] = record
            self.n_found += 1

    def _select_trial(self, pair: tuple[str, str]) -> None:
        """When all trials of an arm are known, queue runs of the best by validation NDCG@10; of equals, the earlier."""
        known = [(unit, self.records[unit]) for unit in self.trials[pair] if unit in self.records]
        if len(known) < len(self.trials[pair]):
            return
        unit, record = max(known, key=lambda entry: entry[1]["validation_ndcg"])
        plan = self.experiment.plan
        protocol = plan.recipe(unit.arm, unit.student, unit.keys).protocol
        epochs = {"training.refit_epochs": record["best_epoch"]} if protocol == "refit" else {}
        number = f"trial {unit.number} of {len(known)}, " if len(known) > 1 else ""
        self.say(
            f"{unit.arm} · {unit.student}: {number}epoch {record['best_epoch']}, "
            f"validation NDCG@10 {record['validation_ndcg']:.4f}"
        )
        for seed in self.selection.seeds(plan):
            self._queue(Unit("run", unit.arm, unit.student, seed, {**unit.keys, "training.seed": seed, **epochs}))


def run_units(
    experiment: Experiment,
    progress: Progress,
    submit: Submit,
    at_once: int,
    selection: Selection,
    *,
    again: bool = False,
    log: Callable[[Unit, Record], None] = lambda unit, record: None,
    before: Callable[[Sequence[Unit]], None] = lambda units: None,
) -> Scheduler:
    """Run all selected units. A unit that fails does not stop the others.

    Args:
        submit: Starts a unit; its future ends with the record.
        at_once: Number of units that are submitted at a time.
        again: Repeat units that have a record.
        log: Called with each unit that finished in this call, and its record.
        before: Called once with the units that are ready, if there are any; where it fails, no unit is started.

    Raises:
        RetortError: At the end, naming the units that failed.
    """
    scheduler = Scheduler(experiment, selection, again, progress.say)
    scheduler.start()
    _report_found(scheduler, progress)
    if scheduler.ready:
        before(scheduler.ready)
    experiment.folder.mkdir(parents=True, exist_ok=True)
    save_plan(experiment)
    running: dict[Future[Record], Unit] = {}
    while scheduler.ready or running:
        while scheduler.ready and len(running) < at_once:
            unit = scheduler.take()
            running[submit(experiment, unit)] = unit
        finished, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            unit = running.pop(future)
            if (record := _collect(scheduler, unit, future, progress)) is not None:
                log(unit, record)
            n_known = len(scheduler.records) + len(scheduler.failed)
            progress.update("experiment", n_known, n_known + len(scheduler.ready) + len(running) or None)
    if scheduler.failed:
        reasons = "; ".join(f"{unit.name}: {why}" for unit, why in scheduler.failed.items())
        raise RetortError(f"{len(scheduler.failed)} unit(s) failed, the others are kept. {reasons}")
    return scheduler


def _collect(scheduler: Scheduler, unit: Unit, future: "Future[Record]", progress: Progress) -> Record | None:
    """Store the record of a finished unit; None for one that failed."""
    try:
        record = future.result()
    except BrokenProcessPool:
        raise RetortError(
            "a worker process died, perhaps for lack of memory; use fewer --workers and run the same command again: "
            "finished units are saved."
        ) from None
    except Exception as error:  # noqa: BLE001 - the other arms go on; all failures are reported at the end
        scheduler.failed[unit] = error_sentence(error)
        progress.say(f"{unit.name} failed: {scheduler.failed[unit]}")
        return None
    test = record.get("test", {}).get("ndcg@10")
    shown = f"NDCG@10 {test:.4f}" if test is not None else f"validation {record.get('validation_ndcg', 0.0):.4f}"
    progress.say(f"{unit.name}: {shown}, {record['seconds']:.0f} s")
    scheduler.finish(unit, record)
    return record


def _report_found(scheduler: Scheduler, progress: Progress) -> None:
    if scheduler.n_found:
        commits = sorted({str(record["commit"])[:8] for record in scheduler.records.values()})
        progress.say(
            f"{scheduler.n_found} unit(s) are done already, by code {', '.join(commits)}; --again repeats them"
        )


def run_inline(progress: Progress) -> Submit:
    """Make a `Submit` that runs units one after the other in this process."""

    def submit(experiment: Experiment, unit: Unit) -> "Future[Record]":
        future: Future[Record] = Future()
        try:
            future.set_result(_run_on_one_thread(experiment, unit, progress))
        except Exception as error:  # noqa: BLE001 - handed to the caller that waits for the result
            future.set_exception(error)
        return future

    return submit


@contextmanager
def run_in_processes(workers: int) -> Iterator[Submit]:
    """Make a `Submit` that runs units in processes of this machine, each on one thread and with a log file a unit."""
    # read by the linear algebra libraries when they are loaded, so before a process starts
    os.environ["OMP_NUM_THREADS"] = "1"
    with process_pool(workers) as pool:
        yield lambda experiment, unit: pool.submit(run_unit_in_process, str(experiment.folder), unit.as_json())


def run_unit_in_process(folder: str, unit: dict[str, Any]) -> Record:
    """Run a unit in a worker process, which reads all that it needs from the experiment's folder."""
    experiment, parsed = load_experiment(Path(folder)), Unit.from_json(unit)
    log = experiment.folder / "logs" / f"{parsed.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        return _run_on_one_thread(experiment, parsed, _LogFile(file))


def _run_on_one_thread(experiment: Experiment, unit: Unit, progress: Progress) -> Record:
    import torch

    from retort.offline.common.database import migrate_and_open
    from retort.shared.base.settings import Settings

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return run_unit(experiment, unit, migrate_and_open(Settings()), progress)
    finally:
        torch.set_num_threads(threads)  # a Celery worker runs other tasks too


@dataclass(frozen=True)
class _LogFile:
    """Progress reporter that writes lines to a log file."""

    file: Any

    def update(self, what: str, done: int, total: int | None) -> None:
        """A file has no bars."""

    def say(self, line: str) -> None:
        self.file.write(line + "\n")
        self.file.flush()
