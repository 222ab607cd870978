"""Metrics of queues, streams, refreshes, profiles and connections, read from real stores."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import redis
import sqlalchemy as sa
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine

from retort.offline.jobs.celery_app import SENT_AT, make_app
from retort.offline.jobs.tasks import send_step
from retort.offline.local.local_redis import free_port
from retort.offline.local.subprocesses import start_child
from retort.offline.monitoring.profiles import PeriodicCollector, profile_metrics
from retort.offline.monitoring.queues import queue_metrics, stream_metrics
from retort.offline.monitoring.serve import StoreCollector, open_for_metrics, readers_of
from retort.offline.monitoring.tables import connection_metrics, refresh_metrics, run_metrics
from retort.shared.base.errors import StoreError
from retort.shared.base.settings import Settings
from retort.shared.db.migrate import upgrade
from retort.shared.db.models import DONE, FAILED, RUNNING, Profile, RefreshChunk, RefreshJob, Run, now
from retort.shared.db.session import open_database, transaction
from retort.shared.events.events import EventWriter, StreamedEvent
from retort.shared.history.redis_history import RedisHistory
from tests import postgres

_DAY = timedelta(days=1)


def samples(families: Iterable[Metric]) -> dict[tuple[str, ...], float]:
    """(name, label values in the order of their names) → value."""
    return {
        (one.name, *(value for _, value in sorted(one.labels.items()))): one.value
        for family in families
        for one in family.samples
    }


def job(session: Any, name: str, days_ago: float, status: str, chunks: list[tuple[int, int, float]]) -> None:
    """A refresh with one chunk of ten users for each (done, tokens read, cost)."""
    at = now() - days_ago * _DAY
    job_id = f"{name}-{days_ago}"
    session.add(
        RefreshJob(
            id=job_id, name=name, spec={}, status=status, n_users=10 * len(chunks), n_chunks=len(chunks), created_at=at
        )
    )
    session.flush()
    session.add_all(
        RefreshChunk(
            job_id=job_id, position=place, n_users=10, done=done, prompt_tokens=read, completion_tokens=7, cost_usd=usd
        )
        for place, (done, read, usd) in enumerate(chunks)
    )


def profile(user_id: str, days_old: float, *, history: str = "h", status: str = DONE) -> Profile:
    return Profile(
        user_id=user_id,
        aspect="all",
        history_hash=history,
        prompt_version="1",
        model="m",
        text="likes boats" if status == DONE else None,
        prompt_tokens=100,
        completion_tokens=20,
        cost_usd=0.5,
        status=status,
        created_at=now() - days_old * _DAY,
    )


def test_queues_report_waiting_tasks_and_their_waiting_time(redis_url: str) -> None:
    app = make_app(redis_url)
    for step in ("first", "second"):
        send_step(app, "run", step, "gpu-llm")
    with redis.Redis.from_url(redis_url) as client:
        # the next message was sent an hour ago
        message = orjson.loads(client.lindex("gpu-llm", -1))
        assert abs(message["headers"][SENT_AT] - time.time()) < 60
        message["headers"][SENT_AT] -= 3600
        client.lset("gpu-llm", -1, orjson.dumps(message))
        client.hset("unacked", "tag", "[]")
    seen = samples(queue_metrics(redis_url))
    assert seen["retort_queue_tasks", "gpu-llm"] == 2
    assert seen["retort_queue_tasks", "cpu"] == 0
    assert 3600 <= seen["retort_queue_oldest_seconds", "gpu-llm"] < 3700
    assert seen["retort_queue_oldest_seconds", "cpu"] == 0
    assert seen["retort_queue_taken_tasks",] == 1


def test_a_message_of_another_program_does_not_end_the_metrics(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        for message in (b"no json", b"[1]", b'{"headers": null}', b'{"headers": {"sent_at": "soon"}}', b"\xff"):
            client.delete("cpu")
            client.lpush("cpu", message)
            seen = samples(queue_metrics(redis_url))
            assert (seen["retort_queue_tasks", "cpu"], seen["retort_queue_oldest_seconds", "cpu"]) == (1, 0)


def test_streams_report_entries_that_wait_for_the_drain(redis_url: str) -> None:
    async def accept() -> None:
        store = RedisHistory.from_url(redis_url)
        events = [StreamedEvent(f"e{n}", "default", "i1", "click", 1.0, n, n, user_id="ann") for n in range(3)]
        await EventWriter(store.client).add(events)
        await store.close()

    asyncio.run(accept())
    seen = samples(stream_metrics(redis_url))
    assert seen == {("retort_stream_entries", "events"): 3, ("retort_stream_entries", "exposures"): 0}


def test_refreshes_report_progress_of_the_latest_and_cost_of_all(engine: Engine) -> None:
    with transaction(engine) as session:
        job(session, "shop", 9, DONE, [(10, 1000, 1.0)])
        job(session, "shop", 1, FAILED, [(10, 500, 0.25), (4, 300, 0.25)])
        job(session, "books", 1, RUNNING, [(0, 0, 0.0)])
    seen = samples(refresh_metrics(engine))
    assert seen["retort_refresh_users", "shop", "default"] == 20
    assert seen["retort_refresh_users_done", "shop", "default"] == 14
    assert seen["retort_refresh_status", "shop", "failed", "default"] == 1
    assert ("retort_refresh_status", "shop", "done", "default") not in seen, "that was the earlier refresh"
    assert seen["retort_refresh_tokens_total", "prompt", "shop", "default"] == 1800
    assert seen["retort_refresh_tokens_total", "completion", "shop", "default"] == 21
    assert seen["retort_refresh_cost_usd_total", "shop", "default"] == 1.5
    assert seen["retort_refresh_users_done", "books", "default"] == 0


def test_runs_and_connections_are_counted(engine: Engine) -> None:
    with transaction(engine) as session:
        for n, status in enumerate([DONE, DONE, FAILED]):
            session.add(Run(id=str(n), recipe_name="shop", recipe={}, data_dir="d", out_dir="o", status=status))
    assert samples(run_metrics(engine)) == {
        ("retort_runs", DONE, "default"): 2,
        ("retort_runs", FAILED, "default"): 1,
    }
    seen = samples(connection_metrics(engine))
    if engine.dialect.name == "sqlite":
        assert seen == {}
        return
    assert seen["retort_database_connections_limit",] > 10
    assert sum(value for key, value in seen.items() if key[0] == "retort_database_connections") >= 1
    assert any(key[2] == "active" for key in seen if key[0] == "retort_database_connections"), "this query is active"


def test_the_age_of_a_user_is_that_of_the_newest_profile(engine: Engine) -> None:
    with transaction(engine) as session:
        session.add_all(
            [
                profile("ann", 100),
                profile("ann", 2, history="longer"),
                profile("bob", 20),
                profile("eve", 0.1, status=FAILED),
            ]
        )
    seen = samples(profile_metrics(engine))
    buckets = {float(key[1]) / 86_400: value for key, value in seen.items() if key[0].endswith("_bucket")}
    assert (buckets[1], buckets[3], buckets[14], buckets[30], buckets[float("inf")]) == (0, 1, 1, 2, 2)
    assert seen["retort_profiles", "m"] == 4
    assert seen["retort_profile_tokens", "prompt", "m"] == 400
    assert seen["retort_profile_cost_usd", "m"] == 2.0


def test_an_empty_database_has_metrics_too(engine: Engine) -> None:
    assert samples(profile_metrics(engine))["retort_profile_age_seconds_bucket", "+Inf"] == 0
    assert samples(refresh_metrics(engine)) == {}


def test_a_failed_collection_leaves_no_old_metrics_and_is_repeated(engine: Engine) -> None:
    engine.dispose()
    calls: list[int] = []

    def read() -> Iterator[Metric]:
        calls.append(len(calls))
        if len(calls) == 2:
            yield from profile_metrics(open_database("postgresql+psycopg://nobody@127.0.0.1:1/none"))
        yield from profile_metrics(engine)

    with PeriodicCollector(read, 0.01) as collector:
        until = time.monotonic() + 60
        while len(calls) < 3 or not collector.latest():
            assert time.monotonic() < until, calls
            time.sleep(0.01)


def test_a_store_that_is_down_has_no_metrics_but_the_others_have(database_url: str) -> None:
    upgrade(database_url)
    engine = open_database(database_url)
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    settings = Settings(_env_file=None, redis_url=nowhere, database_url=database_url)
    seen = samples(StoreCollector(readers_of(settings, engine, list)).collect())
    engine.dispose()
    assert {key[1]: value for key, value in seen.items() if key[0] == "retort_store_answered"} == {
        "database": 1,
        "queue": 0,
        "streams": 0,
    }
    assert not any(key[0].startswith("retort_queue") for key in seen)


def test_a_scrape_does_not_wait_for_a_lock(postgres_server: postgres.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retort.offline.monitoring.serve.SCRAPE_TIMEOUT_S", 0.2)
    monkeypatch.setattr("retort.offline.monitoring.serve.PROFILES_TIMEOUT_S", 0.4)
    with postgres_server.database() as url:
        upgrade(url)
        holder, (scraped, slow) = open_database(url), open_for_metrics(url)
        collector = StoreCollector(readers_of(Settings(_env_file=None, database_url=url), scraped, list))
        with transaction(holder) as session:
            session.execute(sa.text("LOCK TABLE refresh_jobs, profiles IN ACCESS EXCLUSIVE MODE"))
            assert samples(collector.collect())["retort_store_answered", "database"] == 0
            with pytest.raises(StoreError, match="statement timeout"):
                list(profile_metrics(slow))
        assert samples(collector.collect())["retort_store_answered", "database"] == 1
        for engine in (holder, scraped, slow):
            engine.dispose()


def test_prometheus_is_served_until_sigterm(redis_url: str, tmp_path: Path) -> None:
    upgrade(f"sqlite:///{tmp_path / 'retort.db'}")
    port = free_port()
    home = {"RETORT_HOME": str(tmp_path), "REDIS_URL": redis_url, "DATABASE_URL": ""}
    args = [sys.executable, "-m", "retort.offline.cli", "metrics", "--port", str(port)]
    with start_child(args, "metrics", log=tmp_path / "metrics.log", env={**os.environ, **home}) as child:
        text = _scraped(f"http://127.0.0.1:{port}/metrics")
        child.process.terminate()
        assert child.process.wait(30) == 0, child.tail()
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"retort_queue_tasks", "retort_profile_age_seconds", "retort_refresh_users"} <= names
    assert 'retort_store_answered{store="database"} 1.0' in text
    _lint(text)


def _scraped(url: str) -> str:
    """The response, once the server listens and has collected the metrics of profiles."""
    until = time.monotonic() + 60
    while True:
        try:
            text = httpx.get(url).text
            if "retort_profile_age_seconds_bucket" in text:
                return text
        except httpx.TransportError:
            pass
        assert time.monotonic() < until
        time.sleep(0.1)


def _lint(text: str) -> None:
    """Check the names with promtool, if it is installed."""
    promtool = shutil.which("promtool")
    if promtool is not None:
        done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
