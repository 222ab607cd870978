"""One lease for steps, chunks and experiment units: a stale owner changes nothing, whatever the workers' clocks say."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from retort.offline.common.progress import Silent
from retort.offline.experiments.unit_tasks import UnitItem, lease_unit
from retort.offline.jobs import runs
from retort.offline.jobs.heartbeat import Heartbeat, error_sentence, run_under_lease
from retort.offline.jobs.leases import HaltedError, LeaseLostError, LeaseRules, WorkItem
from retort.offline.jobs.runs import StepItem
from retort.offline.pipeline.dag import Step
from retort.offline.refresh.chunks import lease_chunk
from retort.shared.base.errors import RetortError, StoreError
from retort.shared.db.models import ExperimentUnit, LeasedRow, RefreshChunk, base
from retort.shared.db.models import Step as StepRow
from retort.shared.db.session import database_time, reading, transaction
from tests.offline.refresh._factory import job

HOUR = timedelta(hours=1)
Acquire = Callable[[str], WorkItem | None]


@contextmanager
def clock_off_by(offset: timedelta) -> Iterator[None]:
    """Move the clock of this process as Python sees it; the databases keep theirs."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + offset

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "datetime", Clock)
        assert abs(base.now() - datetime.now(UTC) - offset) < timedelta(minutes=1)
        yield


class Kind:
    """One kind of leased row: how a worker acquires the only row, and the row."""

    def __init__(self, name: str, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.acquire: Acquire
        self.table: type[LeasedRow]
        if name == "step":
            run_id = runs.create_run(engine, "tiny", {}, folder, folder, [Step("a", lambda line, work: None)])
            self.table, self.acquire = StepRow, lambda owner: self._step(run_id, owner)
        elif name == "chunk":
            job(engine, folder, 2, 2)
            self.table, self.acquire = RefreshChunk, lambda owner: lease_chunk(engine, owner, LeaseRules(lease_s=30.0))
        else:
            self.table, self.acquire = ExperimentUnit, lambda owner: self._unit(folder / "unit.json", owner)

    def _step(self, run_id: str, owner: str) -> WorkItem | None:
        lease = runs.lease_step(self.engine, run_id, "a", owner)
        return None if lease is None else StepItem(self.engine, lease, Silent())

    def _unit(self, record: Path, owner: str) -> WorkItem | None:
        lease = lease_unit(self.engine, record, owner)
        return None if lease is None else UnitItem(self.engine, lease)

    def held(self, owner: str) -> WorkItem:
        item = self.acquire(owner)
        assert item is not None
        return item

    def row(self) -> LeasedRow:
        with reading(self.engine) as session:
            return session.scalars(sa.select(self.table)).one()

    def expire(self) -> None:
        with transaction(self.engine) as session:
            session.execute(sa.update(self.table).values(heartbeat_at=database_time(session) - timedelta(seconds=31)))


@pytest.fixture(params=["step", "chunk", "unit"])
def kind(request: pytest.FixtureRequest, engine: Engine, tmp_path: Path) -> Kind:
    return Kind(request.param, engine, tmp_path)


@pytest.mark.parametrize("offset", [HOUR, -HOUR], ids=["ahead", "behind"])
def test_a_clock_an_hour_off_takes_over_no_live_lease(kind: Kind, offset: timedelta) -> None:
    item = kind.held("first")
    with clock_off_by(offset):
        assert kind.acquire("second") is None
        item.renew()
    assert kind.acquire("second") is None


@pytest.mark.parametrize("offset", [HOUR, -HOUR], ids=["ahead", "behind"])
def test_a_lease_of_a_clock_an_hour_off_expires_in_time(kind: Kind, offset: timedelta) -> None:
    with clock_off_by(offset):
        kind.held("first").renew()
    assert kind.acquire("second") is None
    kind.expire()
    assert kind.acquire("second") is not None


@pytest.mark.parametrize("offset", [HOUR, -HOUR], ids=["ahead", "behind"])
def test_a_stale_owner_ends_nothing_that_another_worker_has_taken_over(kind: Kind, offset: timedelta) -> None:
    with clock_off_by(offset):
        stale = kind.held("stale")
    kind.expire()
    fresh = kind.held("fresh")
    before = kind.row()
    assert (before.owner, before.status, before.attempts) == ("fresh", "running", 2)
    writes: dict[str, Callable[[], Any]] = {
        "finish": stale.finish,
        "fail": lambda: stale.fail("the stale owner failed"),
        "heartbeat": stale.renew,
        "release": stale.release,
    }
    with clock_off_by(offset):
        for write in writes.values():
            with pytest.raises(LeaseLostError, match="another worker has taken over"):
                write()
    assert vars_of(kind.row()) == vars_of(before)
    fresh.finish()
    assert kind.row().status == "done"
    for write in writes.values():
        with pytest.raises(LeaseLostError):
            write()
    assert kind.row().status == "done"


def test_each_acquisition_has_a_fencing_token_of_its_own(kind: Kind) -> None:
    tokens = set()
    for n in range(3):
        item = kind.held(f"worker-{n}")
        tokens.add(item.lease.token)
        assert kind.row().lease == item.lease.token
        item.release()
    assert len(tokens) == 3
    assert kind.row().attempts == 0


def test_a_stale_owner_whose_work_ends_leaves_the_row_to_the_new_owner(kind: Kind) -> None:
    stale = kind.held("stale")
    kind.expire()
    fresh = kind.held("fresh")
    assert not run_under_lease(stale, lambda heartbeat: None)

    def fail(_: object) -> None:
        raise ValueError("too late")

    assert not run_under_lease(stale, fail)
    assert kind.row().owner == "fresh"
    assert run_under_lease(fresh, lambda heartbeat: None)
    assert (kind.row().status, kind.row().error) == ("done", None)


def test_the_heartbeat_reports_a_lost_lease_to_the_working_thread(kind: Kind) -> None:
    stale = kind.held("stale")
    stale.rules = LeaseRules(lease_s=30.0, beat_s=0.02)
    kind.expire()
    kind.held("fresh")
    ended = []

    def work(heartbeat: Heartbeat) -> None:
        for _ in range(500):
            time.sleep(0.02)
            try:
                heartbeat.check()
            except LeaseLostError:
                ended.append("work")
                raise
        pytest.fail("the lost lease was not reported")

    assert not run_under_lease(stale, work)
    assert ended == ["work"]


def test_a_heartbeat_keeps_the_lease_of_a_long_computation(kind: Kind) -> None:
    item = kind.held("busy")
    item.rules = LeaseRules(lease_s=30.0, beat_s=0.02)
    with transaction(kind.engine) as session:
        session.execute(sa.update(kind.table).values(heartbeat_at=database_time(session) - timedelta(seconds=29)))

    def work(_: object) -> None:
        for _ in range(500):
            time.sleep(0.02)
            beat_at = kind.row().heartbeat_at
            assert beat_at is not None
            if datetime.now(UTC) - beat_at < timedelta(seconds=10):
                assert kind.acquire("other") is None
                return
        pytest.fail("no heartbeat was written")

    assert run_under_lease(item, work)


@pytest.mark.parametrize("error", [KeyboardInterrupt, HaltedError, StoreError])
def test_work_that_must_end_is_released_and_is_no_attempt(kind: Kind, error: type[BaseException]) -> None:
    def work(_: object) -> None:
        raise error("stop")

    if error is HaltedError:
        assert not run_under_lease(kind.held("worker"), work)
    else:
        with pytest.raises(error):
            run_under_lease(kind.held("worker"), work)
    row = kind.row()
    assert (row.status, row.attempts, row.lease, row.error) == ("pending", 0, None, None)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RetortError("no key; set one."), "no key; set one."),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
    ],
)
def test_an_exception_becomes_one_sentence_of_the_row(kind: Kind, error: Exception, sentence: str) -> None:
    def work(_: object) -> None:
        raise error

    assert error_sentence(error) == sentence
    assert not run_under_lease(kind.held("worker"), work)
    row = kind.row()
    assert row.error == sentence
    # a chunk is tried again after a pause; the first error of a step or a unit is final
    assert (row.status, row.not_before is not None) in {("pending", True), ("failed", False)}


def test_the_database_has_a_clock_of_its_own(engine: Engine) -> None:
    with clock_off_by(HOUR), reading(engine) as session:
        assert abs(database_time(session) - datetime.now(UTC)) < timedelta(minutes=1)
        assert database_time(session) <= database_time(session)


def vars_of(row: LeasedRow) -> dict[str, Any]:
    return {name: value for name, value in vars(row).items() if not name.startswith("_")}
