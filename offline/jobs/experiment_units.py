"""Units by Celery: one task each on the queue `gpu-train`. The truth is the experiment's folder, which all workers see.

A record says that a unit is done, a file in `failed/` why it is not, a lock in `locks/` that somebody is at it. Celery
only carries "go and look": a task that comes twice finds the record, or the lock and looks again later.
"""

import fcntl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import orjson
from celery import Celery, Task
from celery.utils.log import get_task_logger
from kombu.exceptions import OperationalError

from retort.offline.experiments.run_unit import Experiment
from retort.offline.experiments.scheduler import Record, Submit, load_experiment, run_unit_in_process
from retort.offline.experiments.unit import Unit
from retort.offline.jobs.tasks import Turn
from retort.shared.base.errors import RetortError, StoreError

UNIT_TASK = "offline.experiment_unit"
QUEUE = "gpu-train"
AT_ONCE = 10_000  # the queue holds what no worker has taken yet
_LOOK_AGAIN_S = 10
_LOOK_EVERY_S = 0.5
_MAX_ATTEMPTS = 5
_logger = get_task_logger(__name__)
DoUnit = Callable[[str, dict[str, Any]], Record]


def register_units(app: Celery, turn: Turn = nullcontext, do: DoUnit = run_unit_in_process) -> None:
    """Teach an application to do units of experiments. turn: held while one is done."""

    @app.task(name=UNIT_TASK, bind=True, max_retries=None)  # type: ignore[untyped-decorator]
    def unit(self: Task, folder: str, unit: dict[str, Any]) -> None:
        try:
            with turn():
                if do_alone(Path(folder), unit, do):
                    return
        except StoreError as error:
            _logger.warning("%s Trying again in %s s.", error, _LOOK_AGAIN_S)
        raise self.retry(countdown=_LOOK_AGAIN_S)


def do_alone(folder: Path, said: dict[str, Any], do: DoUnit = run_unit_in_process) -> bool:
    """Do a unit unless it is done; False while another process is at it. What went wrong is written down."""
    try:
        experiment, unit = load_experiment(folder), Unit.from_json(said)
    except RetortError as error:
        raise StoreError(f"{error} Workers need the experiment's folder under the same path.") from None
    with _lock(experiment, unit) as begun:
        if begun is None:
            return False
        if experiment.record_of(unit).exists():
            return True
        try:
            if begun > _MAX_ATTEMPTS:
                raise RetortError(f"begun {_MAX_ATTEMPTS} times and never finished; read the worker's log.")
            do(str(folder), said)
        except StoreError:
            raise  # stores come back
        except Exception as error:
            known = isinstance(error, RetortError)
            _logger.error("%s failed: %s", unit.name, error, exc_info=None if known else error)
            _write_failure(experiment, unit, str(error) if known else repr(error))
    return True


@contextmanager
def _lock(experiment: Experiment, unit: Unit) -> Iterator[int | None]:
    """Which attempt this is, None while another process has the lock; the lock's file counts those that never ended."""
    path = experiment.folder / "locks" / f"{experiment.record_of(unit).stem}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        file.write(b".")
        try:
            yield file.tell()
        finally:
            file.truncate(0)  # only a process that was killed leaves its mark


@contextmanager
def by_workers(app: Celery, *, again: bool = False) -> Iterator[Submit]:
    """Send units to whoever works on the queue, and hear of their end. Ended early, what was sent is done anyway."""
    waiting: dict[Future[Record], tuple[Experiment, Unit]] = {}
    ended = threading.Event()
    thread = threading.Thread(target=_hear, args=(waiting, ended), name="experiment", daemon=True)

    def submit(experiment: Experiment, unit: Unit) -> "Future[Record]":
        if again:
            experiment.record_of(unit).unlink(missing_ok=True)
        _failure(experiment, unit).unlink(missing_ok=True)
        _send(app, experiment, unit)
        future: Future[Record] = Future()
        waiting[future] = (experiment, unit)
        return future

    thread.start()
    try:
        yield submit
    finally:
        ended.set()
        thread.join()


def _send(app: Celery, experiment: Experiment, unit: Unit) -> None:
    asked = {"folder": str(experiment.folder.absolute()), "unit": unit.as_json()}
    try:
        app.send_task(UNIT_TASK, kwargs=asked, queue=QUEUE, ignore_result=True)
    except OperationalError as error:
        raise StoreError(f"a unit could not be sent to Redis ({error}); is REDIS_URL right and Redis up?") from None


def _hear(waiting: "dict[Future[Record], tuple[Experiment, Unit]]", ended: threading.Event) -> None:
    while not ended.wait(_LOOK_EVERY_S):
        for future, (experiment, unit) in list(waiting.items()):
            try:
                record = _outcome(experiment, unit)
            except Exception as error:  # noqa: BLE001 - a thread that ended would leave all the others waiting for ever
                del waiting[future]
                future.set_exception(error)
                continue
            if record is not None:
                del waiting[future]
                future.set_result(record)


def _outcome(experiment: Experiment, unit: Unit) -> Record | None:
    """The unit's record, None while there is none; RetortError for a unit that failed or left nothing readable."""
    if record := experiment.records.find(experiment.record_of(unit)):
        return record
    why = _failure(experiment, unit)
    if not why.exists():
        return None
    try:
        said = orjson.loads(why.read_bytes())["why"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RetortError(f"it failed, and {why} does not say why ({error}); read the worker's log.") from None
    raise RetortError(said)


def _failure(experiment: Experiment, unit: Unit) -> Path:
    return experiment.folder / "failed" / experiment.record_of(unit).name


def _write_failure(experiment: Experiment, unit: Unit, why: str) -> None:
    path = _failure(experiment, unit)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_bytes(orjson.dumps({"unit": unit.as_json(), "why": why}))
    beside.replace(path)
