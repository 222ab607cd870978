"""Redis absent at start, killed, slow, resetting, full: there is always an answer, and it says what is wrong."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults._redis import HurtableRedis, Proxy
from tests.faults._watch import metric, soon
from tests.serving._graphs import make_bundle
from tests.serving._process import Server, serving_process

FAST: dict[str, Any] = {"retort_history_timeout_s": 0.15, "retort_breaker_rest_s": 0.2, "retort_deadline_s": 0.6}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundles"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[HurtableRedis]:
    server = HurtableRedis(tmp_path)
    yield server
    server.kill()


@pytest.fixture
def proxy(store: HurtableRedis) -> Iterator[Proxy]:
    proxy = Proxy(store.port)
    yield proxy
    proxy.close()


def ask(server: Server, user_id: str = "ann") -> dict[str, Any]:
    response = httpx.post(f"{server.url}/recommend", json={"user_id": user_id, "k": 3}, timeout=5)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    assert len(answer["items"]) == 3
    return answer


def tell(server: Server, item_id: str = "i7", user_id: str = "ann") -> httpx.Response:
    return httpx.post(f"{server.url}/events", json={"user_id": user_id, "item_id": item_id}, timeout=5)


def test_absent_at_start_then_there(bundle: Path, store: HurtableRedis, tmp_path: Path) -> None:
    with serving_process(tmp_path, retort_bundle=bundle, redis_url=store.url, **FAST) as server:
        server.ready()
        answer = ask(server)
        assert (answer["source"], answer["fallback_reason"]) == ("popular", "history_unavailable")
        lost = tell(server)
        assert (lost.status_code, lost.headers["retry-after"]) == (503, "2")
        assert metric(server, "retort_store_failures_total", call="append") >= 1
        assert metric(server, "retort_answers_total", source="popular", reason="history_unavailable") == 1
        store.start()
        soon(lambda: tell(server).status_code == 202)
        soon(lambda: ask(server)["source"] == "student")
        assert httpx.get(f"{server.url}/health/ready").json()["degraded"] == []


def test_killed_and_back(bundle: Path, store: HurtableRedis, tmp_path: Path) -> None:
    store.start()
    with serving_process(tmp_path, retort_bundle=bundle, redis_url=store.url, **FAST) as server:
        server.ready()
        tell(server)
        known = ask(server)
        assert known["source"] == "student"
        store.kill()
        for _ in range(10):
            remembered = ask(server)
            assert remembered["source"] == "partial_history"
            assert remembered["items"] == known["items"]
        assert ask(server, "stranger")["fallback_reason"] == "history_unavailable"
        assert httpx.get(f"{server.url}/health/ready").json()["degraded"] == ["redis"]
        assert metric(server, "retort_store_failures_total", call="recent") >= 5
        assert metric(server, "retort_breaker_refusals_total") >= 1
        store.start()
        soon(lambda: ask(server, "stranger")["fallback_reason"] == "unknown_user")


def test_slow_meets_the_timeout_then_the_breaker_then_nobody_waits(
    bundle: Path, store: HurtableRedis, proxy: Proxy, tmp_path: Path
) -> None:
    store.start()
    slow = {**FAST, "retort_breaker_rest_s": 30, "retort_breaker_failures": 3}
    with serving_process(tmp_path, retort_bundle=bundle, redis_url=proxy.url, **slow) as server:
        server.ready()
        assert tell(server).status_code == 202
        assert ask(server)["source"] == "student"
        proxy.delay_s = 1.0
        seen = []
        for _ in range(8):
            answer = ask(server)
            assert (answer["source"], answer["fallback_reason"]) == ("partial_history", "history_unavailable")
            failures = metric(server, "retort_store_failures_total", call="recent")
            seen.append((failures, metric(server, "retort_breaker_refusals_total")))
        # The timeout first, three times; then the breaker; and from the first on, the fallback.
        assert seen == [(1, 0), (2, 0), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4), (3, 5)]


@pytest.mark.parametrize("how", ["cut", "reset"])
def test_lost_connections_are_dialled_again(
    bundle: Path, store: HurtableRedis, proxy: Proxy, tmp_path: Path, how: str
) -> None:
    store.start()
    with serving_process(tmp_path, retort_bundle=bundle, redis_url=proxy.url, **FAST) as server:
        server.ready()
        assert tell(server).status_code == 202
        setattr(proxy, how, True)
        for _ in range(5):
            assert ask(server)["fallback_reason"] == "history_unavailable"
        assert tell(server, "i8").status_code == 503
        assert metric(server, "retort_store_failures_total", call="recent") >= 1
        assert metric(server, "retort_store_failures_total", call="append") >= 1
        setattr(proxy, how, False)
        soon(lambda: ask(server)["source"] == "student")


def test_full_refuses_events_and_still_reads(bundle: Path, store: HurtableRedis, tmp_path: Path) -> None:
    store.start()
    with serving_process(tmp_path, retort_bundle=bundle, redis_url=store.url, **FAST) as server:
        server.ready()
        assert tell(server).status_code == 202
        with store.client() as client:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", "1")
            assert tell(server, "i8").status_code == 503
            assert ask(server)["source"] == "student"
            assert metric(server, "retort_store_failures_total", call="append") == 1
            assert metric(server, "retort_store_failures_total", call="recent") == 0
            client.config_set("maxmemory", "0")
        soon(lambda: tell(server, "i8").status_code == 202)


def test_a_failover_behind_one_address_keeps_histories(
    bundle: Path, store: HurtableRedis, proxy: Proxy, tmp_path: Path
) -> None:
    store.start()
    replica = HurtableRedis(tmp_path)
    replica.start("--replicaof", "127.0.0.1", str(store.port))
    try:
        with serving_process(tmp_path, retort_bundle=bundle, redis_url=proxy.url, **FAST) as server:
            server.ready()
            assert tell(server).status_code == 202
            known = ask(server)
            with replica.client() as client:
                soon(lambda: bool(client.keys("retort:h:*")))
                proxy.point_to(replica.port)
                soon(lambda: ask(server)["source"] == "student")
                assert tell(server, "i8").status_code == 503, "a replica that is not promoted yet takes no writes"
                assert metric(server, "retort_store_failures_total", call="append") == 1
                store.kill()
                assert ask(server)["items"] == known["items"]
                client.replicaof("NO", "ONE")
            soon(lambda: tell(server, "i8").status_code == 202)
            soon(lambda: ask(server)["source"] == "student")
            assert "i8" not in {item["item_id"] for item in ask(server)["items"]}
    finally:
        replica.kill()
