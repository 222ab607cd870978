"""The fifth migration keeps work that is in progress: its rows are read, and taken over when their workers are gone."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from retort.offline.jobs import runs
from retort.offline.jobs.leases import LeaseRules
from retort.offline.refresh.chunks import lease_chunk
from retort.shared.db import migrate
from retort.shared.db.models import RefreshChunk, Step
from retort.shared.db.session import database_time, open_database, reading, transaction

RUN_ID, JOB_ID = "a" * 32, "b" * 32
HOUR = timedelta(hours=1)


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    migrate.upgrade(database_url, "r0004")
    engine = open_database(database_url)
    yield engine
    engine.dispose()


def insert_work_in_progress(engine: sa.Engine) -> None:
    """Rows as the version before wrote them, by a worker whose clock is an hour ahead."""
    ahead = datetime.now(UTC) + HOUR
    time = sa.bindparam("time", ahead, sa.DateTime(timezone=True))
    for sql in (
        "INSERT INTO runs (id, tenant, recipe_name, recipe, data_dir, out_dir, status, created_at)"
        f" VALUES ('{RUN_ID}', 'default', 'tiny', '{{}}', 'data', 'out', 'running', :time)",
        "INSERT INTO steps (run_id, name, position, queue, status, what, done, total, attempts, owner, started_at,"
        f" heartbeat_at) VALUES ('{RUN_ID}', 'train', 0, 'gpu-train', 'running', 'training', 3, 10, 1, 'elsewhere:1',"
        " :time, :time)",
        "INSERT INTO steps (run_id, name, position, queue, status, done, attempts)"
        f" VALUES ('{RUN_ID}', 'export', 1, 'cpu', 'pending', 0, 0)",
        "INSERT INTO refresh_jobs (id, tenant, name, spec, status, n_users, n_chunks, created_at)"
        f" VALUES ('{JOB_ID}', 'default', 'tiny', '{{}}', 'running', 5, 1, :time)",
        "INSERT INTO refresh_chunks (job_id, position, n_users, status, owner, lease, attempts, heartbeat_at, done,"
        " written, reused, failed, prompt_tokens, completion_tokens, cost_usd, problems)"
        f" VALUES ('{JOB_ID}', 0, 5, 'running', 'elsewhere:1:ab', 'token', 1, :time, 2, 2, 0, 0, 20, 10, 0.5, '{{}}')",
    ):
        statement = sa.text(sql)
        with transaction(engine) as session:
            session.execute(statement.bindparams(time) if ":time" in sql else statement)


def let_leases_expire(engine: sa.Engine) -> None:
    with transaction(engine) as session:
        for table in (Step, RefreshChunk):
            past = database_time(session) - timedelta(minutes=2)
            session.execute(sa.update(table).filter_by(status="running").values(heartbeat_at=past))


def test_work_in_progress_is_kept_and_taken_over(engine: sa.Engine, database_url: str) -> None:
    insert_work_in_progress(engine)
    migrate.upgrade(database_url)
    run = runs.read_run(engine, RUN_ID)
    assert [(step.name, step.status, step.done, step.attempts) for step in run.steps] == [
        ("train", "running", 3, 1),
        ("export", "pending", 0, 0),
    ]
    assert runs.lease_step(engine, RUN_ID, "train", "new:1") is None, "its worker may still be at work"
    with reading(engine) as session:
        step = session.get_one(Step, (RUN_ID, "train"))
        assert step.heartbeat_at is not None
        # not the hour that the worker's clock was ahead: the lease expires in time
        assert abs(step.heartbeat_at - database_time(session)) < timedelta(minutes=1)
    let_leases_expire(engine)
    lease = runs.lease_step(engine, RUN_ID, "train", "new:1")
    assert lease is not None
    assert lease.attempt == 2
    chunk = lease_chunk(engine, "new:1", LeaseRules())
    assert chunk is not None
    chunk.finish()
    with reading(engine) as session:
        row = session.scalars(sa.select(RefreshChunk)).one()
        assert (row.status, row.prompt_tokens, row.attempts) == ("done", 20, 2)


def test_the_downgrade_keeps_runs_and_their_steps(engine: sa.Engine, database_url: str) -> None:
    insert_work_in_progress(engine)
    migrate.upgrade(database_url)
    migrate.downgrade(database_url, "r0004")
    assert "experiment_units" not in sa.inspect(engine).get_table_names()
    assert "lease" not in {column["name"] for column in sa.inspect(engine).get_columns("steps")}
    migrate.upgrade(database_url)
    assert [step.name for step in runs.read_run(engine, RUN_ID).steps] == ["train", "export"]
