"""Clocks that leap a year ahead, fall back, and return: orders, lifetimes, quotas, breakers and tokens stay sane."""

import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from retort.serving.api.auth import Scope, create_key
from retort.shared.events.drain import drain
from retort.shared.events.events import StreamedEvent
from tests.faults._clock import MovableClock
from tests.faults._redis import HurtableRedis
from tests.faults._watch import metric, soon
from tests.serving._process import Server, serving_process

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="clocks are moved by a preloaded library"
)

YEAR = 365


@pytest.fixture
def clock(tmp_path: Path) -> MovableClock:
    return MovableClock(tmp_path / "clock")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[HurtableRedis]:
    server = HurtableRedis(tmp_path)
    yield server
    server.kill()


def tell(server: Server, item_id: str) -> None:
    told = httpx.post(f"{server.url}/events", json={"user_id": "ann", "item_id": item_id}, timeout=5)
    assert (told.status_code, told.json()["new"]) == (202, 1)


def ask(server: Server, **more: Any) -> dict[str, Any]:
    response = httpx.post(f"{server.url}/recommend", json={"user_id": "ann", "k": 5, **more}, timeout=5)
    assert response.status_code == 200
    answer: dict[str, Any] = response.json()
    return answer


def _degraded(server: Server) -> list[str]:
    """What is away; only a request finds out."""
    ask(server)
    away: list[str] = httpx.get(f"{server.url}/health/ready").json()["degraded"]
    return away


def test_a_servers_clock_that_jumps_keeps_histories_in_order(
    bundles: list[Path], store: HurtableRedis, clock: MovableClock, tmp_path: Path
) -> None:
    store.start()
    with serving_process(
        tmp_path, retort_bundle=bundles[0], redis_url=store.url, retort_breaker_rest_s=0.2, **clock.environment
    ) as server:
        server.ready()
        tell(server, "i1")
        first = ask(server)
        for item_id, days in (("i2", YEAR), ("i3", 0), ("i4", -YEAR), ("i5", 0)):
            clock.jump_to(days)
            tell(server, item_id)
            answer = ask(server)
            assert answer["source"] == "student"
            assert item_id not in {item["item_id"] for item in answer["items"]}
        assert metric(server, "retort_clock_jumps_total") == 2
        kept = httpx.get(f"{server.url}/users/ann/history").json()["events"]
        assert [event["item_id"] for event in kept] == ["i1", "i2", "i3", "i4", "i5"]
        clock.jump_to(YEAR)
        shown = {item["item_id"] for item in first["items"]}
        assert not shown & {item["item_id"] for item in ask(server, next=first["next"])["items"]}
        store.kill()
        soon(lambda: _degraded(server) == ["redis"])
        clock.jump_to(-YEAR)
        store.start()
        soon(lambda: _degraded(server) == [])
        tell(server, "i6")


def test_a_quota_neither_renews_nor_locks_out_when_the_clock_jumps(
    bundles: list[Path], clock: MovableClock, tmp_path: Path
) -> None:
    key, entry = create_key("app", frozenset({Scope.READ}))
    limited = entry.model_copy(update={"per_day": 3, "per_second": 1000.0})
    (tmp_path / "keys.json").write_bytes(orjson.dumps([limited.model_dump(mode="json")]))
    with serving_process(
        tmp_path, retort_bundle=bundles[0], retort_keys_file=tmp_path / "keys.json", **clock.environment
    ) as server:
        server.ready()
        with httpx.Client(base_url=server.url, headers={"x-api-key": key}) as client:

            def asked() -> httpx.Response:
                return client.post("/recommend", json={"history": ["i1"], "k": 1})

            assert [asked().status_code for _ in range(2)] == [200, 200]
            clock.jump_to(YEAR)
            assert [asked().status_code for _ in range(2)] == [200, 429]
            for days in (-YEAR, 0, 1):
                clock.jump_to(days)
                refused = asked()
                assert refused.status_code == 429
                assert 0 < int(refused.headers["retry-after"]) <= 86_400


def test_redis_clock_within_a_lifetime_loses_nothing_and_beyond_it_only_forgets(
    bundles: list[Path], store: HurtableRedis, clock: MovableClock, tmp_path: Path
) -> None:
    store.start(environment=clock.environment)
    with serving_process(tmp_path, retort_bundle=bundles[0], redis_url=store.url, history_ttl_days=30) as server:
        server.ready()
        tell(server, "i1")
        for item_id, days in (("i2", 20), ("i3", 0), ("i4", -20), ("i5", 0)):
            clock.jump_to(days)
            assert ask(server)["source"] == "student"
            tell(server, item_id)
        with store.client() as client:
            assert client.zcard("retort:h:{default:ann}") == 5
        clock.jump_to(60)
        assert ask(server)["fallback_reason"] == "unknown_user"
        clock.jump_to(0)
        tell(server, "i6")
        assert ask(server)["source"] == "student"
    kept = Kept()
    assert drain(store.url, kept, worker="w") == 6
    assert [event.item_id for event in kept.events] == ["i1", "i2", "i3", "i4", "i5", "i6"]


class Kept:
    """An event store that only remembers."""

    def __init__(self) -> None:
        self.events: list[StreamedEvent] = []

    def keep(self, events: Any) -> None:
        self.events += events

    def merge(self, *_: Any) -> None:
        raise AssertionError("nobody was merged")

    def forget(self, tenant: str, user_id: str, until_ms: int) -> int:
        raise AssertionError("nobody was erased")

    def sessions_of(self, tenant: str, user_id: str) -> list[str]:
        return []

    def forget_session(self, tenant: str, session_id: str, until_ms: int) -> int:
        raise AssertionError("nobody was erased")
