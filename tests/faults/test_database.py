"""A database that is away: answers go on, aliases stand still, events wait, and nothing is lost when it is back."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.engine import make_url

from retort.shared.events.drain import waiting
from retort.shared.events.events_table import read_events
from tests import postgres
from tests.faults._redis import Proxy
from tests.faults._retort import retort
from tests.faults._watch import Load, metric, soon
from tests.faults.conftest import Registry, registry_of
from tests.serving._process import Server, serving_process

REQUEST: dict[str, Any] = {"history": ["i1", "i2", "i3"], "k": 5}


@pytest.fixture
def tables(postgres_server: postgres.Server, bundles: list[Path]) -> Iterator[Registry]:
    """A registry in a real PostgreSQL."""
    with postgres_server.database() as url, registry_of(url, bundles) as found:
        yield found


@pytest.fixture
def proxy(postgres_server: postgres.Server) -> Iterator[Proxy]:
    proxy = Proxy(postgres_server.port)
    yield proxy
    proxy.close()


def through(proxy: Proxy, url: str) -> str:
    return make_url(url).set(port=proxy.port).render_as_string(hide_password=False)


def away(proxy: Proxy) -> None:
    proxy.refuse = True
    proxy.hang_up()


def test_answers_go_on_without_the_registry(
    bundles: list[Path], tables: Registry, proxy: Proxy, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"database_url": through(proxy, tables.url), "retort_follow_every_s": 0.1}
    with serving_process(tmp_path, **settings) as server:
        server.ready()
        with Load(server.url, REQUEST, callers=2) as load:
            away(proxy)
            tables.promote(bundles[1])
            soon(lambda: metric(server, "retort_registry_failures_total") >= 2)
            assert version(server) == bundles[0].name
            proxy.refuse = False
            soon(lambda: version(server) == bundles[1].name)
        assert not load.broken
        assert not load.refusals
        away(proxy)
    with serving_process(tmp_path, **settings) as server:
        server.ready()
        assert version(server) == bundles[1].name, "a start without the database takes the last known bundle"
        assert metric(server, "retort_registry_failures_total") >= 1


def test_a_database_that_hangs_holds_up_neither_answers_nor_the_stop(
    bundles: list[Path], tables: Registry, proxy: Proxy, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"database_url": through(proxy, tables.url), "retort_follow_every_s": 0.1}
    with serving_process(tmp_path, **settings) as server:
        server.ready()
        proxy.silent = True
        with Load(server.url, REQUEST, callers=2) as load:
            time.sleep(1.0)  # ten looks at the registry, the first of which is still waiting
            before = len(load.answers)
            soon(lambda: len(load.answers) > before + 50)
        assert not load.broken
        assert not load.refusals
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(15) == -signal.SIGTERM


def test_events_wait_for_the_database_and_each_arrives_once(
    bundles: list[Path], tables: Registry, proxy: Proxy, redis_url: str, tmp_path: Path
) -> None:
    stores = {"redis_url": redis_url, "database_url": through(proxy, tables.url)}
    drain = ("events", "drain", "--watch", "--every-s", "0.2")
    with (
        serving_process(tmp_path, retort_bundle=bundles[0], redis_url=redis_url) as server,
        retort(tmp_path, *drain, **stores),
    ):
        server.ready()
        send(server, range(20))
        soon(lambda: waiting(redis_url) == 0, within_s=40)
        away(proxy)
        send(server, range(20, 60))
        soon(lambda: "wait on their stream" in (tmp_path / f"{'-'.join(drain)}.log").read_text())
        assert waiting(redis_url) == 40
        proxy.refuse = False
        soon(lambda: waiting(redis_url) == 0)
        assert metric(server, "retort_events_total", outcome="accepted") == 60
    kept = [row.event_id for rows in read_events(tables.engine) for row in rows]
    assert sorted(kept) == sorted(f"e{n}" for n in range(60))


def send(server: Server, numbers: range) -> None:
    for n in numbers:
        event = {"user_id": f"u{n % 7}", "item_id": f"i{n % 50 + 1}", "event_id": f"e{n}"}
        assert httpx.post(f"{server.url}/events", json=event, timeout=10).status_code == 202


def version(server: Server) -> str:
    answered: str = httpx.post(f"{server.url}/recommend", json=REQUEST).json()["model"]["version"]
    return answered
