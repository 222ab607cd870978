"""A million users in Redis: what one costs, that none grows without bound, and that all are answered."""

import random
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from benchmarks.synthetic_data import histories
from retort.shared.history import keys
from retort.shared.history.history_load import load_histories
from tests.faults._redis import HurtableRedis
from tests.faults._watch import metric
from tests.serving._process import Server, serving_process

DAY_S = 86_400
DISTINCT = 20_000
# COPY inside Redis: every key is a set of its own, and Python need not hash fifty million events.
COPIES = """
for n = 0, tonumber(ARGV[1]) - 1 do
  for copy = 1, tonumber(ARGV[2]) do
    redis.call('COPY', '%s' .. n .. '}', '%s' .. n .. '-' .. copy .. '}')
  end
end
"""


@pytest.mark.parametrize(
    ("users", "length"), [(2_000, 50), (500, 200), pytest.param(1_000_000, 50, marks=pytest.mark.long)]
)
def test_what_a_user_costs_and_that_it_stays_so(bundles: list[Path], tmp_path: Path, users: int, length: int) -> None:
    store = HurtableRedis(tmp_path)
    store.start()
    try:
        with store.client() as client:
            bytes_a_user = _fill(client, store.url, users, length)
            print(f"{users} users with histories of {length}: {bytes_a_user:.0f} bytes a user")
            assert 30 * length < bytes_a_user < 120 * length
            settings: dict[str, Any] = {"history_length": length, "history_ttl_days": 30}
            with serving_process(tmp_path, retort_bundle=bundles[0], redis_url=store.url, **settings) as server:
                server.ready()
                _asked_at_random(server, users)
                _grows_no_further(server, client, length)
    finally:
        store.kill()


def _fill(client: "redis.Redis", url: str, users: int, length: int) -> float:
    """Histories as `retort history load` writes them; bytes of memory that a user took."""
    client.ping()
    empty = client.info("memory")["used_memory"]
    distinct = min(users, DISTINCT)
    load_histories(url, histories(distinct, 12_000, length), max_events=length, ttl_s=30 * DAY_S)
    name = keys.history(keys.DEFAULT_TENANT, "u")[:-1]
    copies = users // distinct - 1
    with redis.Redis.from_url(url, socket_timeout=300) as patient:
        patient.eval(COPIES % (name, name), 0, distinct, copies)
        assert patient.dbsize() == users
        return float(patient.info("memory")["used_memory"] - empty) / users


def _asked_at_random(server: Server, users: int) -> None:
    """Every one of them is known, and nobody meets a timeout."""
    distinct = min(users, DISTINCT)
    chosen = random.Random(0)
    with httpx.Client(base_url=server.url) as client:
        for _ in range(200):
            n, copy = chosen.randrange(distinct), chosen.randrange(users // distinct)
            answer = client.post("/recommend", json={"user_id": f"u{n}-{copy}" if copy else f"u{n}"})
            # These shops' items are unknown to the tiny bundle: the history was read, and says so.
            assert answer.json()["fallback_reason"] == "no_known_items"
    assert metric(server, "retort_store_failures_total") == 0


def _grows_no_further(server: Server, client: "redis.Redis", length: int) -> None:
    """Length and lifetime are bounded, whatever is sent."""
    events = [{"user_id": "u0", "item_id": f"i{n % 60 + 1}", "event_id": f"e{n}"} for n in range(500)]
    key = keys.history(keys.DEFAULT_TENANT, "u0")
    for _ in range(3):
        assert httpx.post(f"{server.url}/events", json=events, timeout=10).status_code == 202
        assert client.zcard(key) == length
    assert 29 * DAY_S < client.ttl(key) <= 30 * DAY_S
    visit = {"session_id": "guest", "item_id": "i1"}
    assert httpx.post(f"{server.url}/events", json=visit).status_code == 202
    assert client.ttl(keys.session(keys.DEFAULT_TENANT, "guest")) > 29 * DAY_S
