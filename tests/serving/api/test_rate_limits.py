"""Rate limits and quotas: over all workers by Redis, in the round trip of the request, and local without Redis."""

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from starlette.testclient import TestClient

from retort.serving.api.auth import Scope, create_key
from retort.serving.api.rate_limits import DailyQuota, RateLimiter, TokenBucket
from retort.serving.schemas.problems import Problem
from retort.shared.base.errors import StoreError
from retort.shared.history import keys
from retort.shared.history.redis_history import Command, RedisHistory
from tests.serving.conftest import MakeClient


def key_file(path: Path, **limits: float) -> dict[str, str]:
    """A key file with one key; the header that presents it."""
    key, entry = create_key("app", frozenset(Scope))
    path.write_bytes(orjson.dumps([entry.model_copy(update=limits).model_dump(mode="json")]))
    return {"x-api-key": key}


@pytest.fixture(params=["memory", "redis"])
def redis_of(request: pytest.FixtureRequest) -> str | None:
    return str(request.getfixturevalue("redis_url")) if request.param == "redis" else None


def histories(url: str | None) -> RedisHistory | None:
    # So much time that a busy machine does not count as a Redis that is away.
    return RedisHistory.from_url(url, timeout_s=30) if url else None


@pytest.mark.parametrize("limits", [{"per_second": 0.001}, {"per_day": 1}])
@pytest.mark.parametrize("path", ["/models", "/recommend?user_id=ann", "/recommend?history=i1"])
def test_a_limit_is_enforced_with_retry_after(
    make_client: MakeClient, redis_of: str | None, tmp_path: Path, limits: dict[str, float], path: str
) -> None:
    headers = key_file(tmp_path / "keys.json", **limits)
    client = make_client(histories(redis_of), keys_file=tmp_path / "keys.json", history_timeout_s=30, deadline_s=60)
    answers = [client.get(path, headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 429, 429]
    assert int(answers[2].headers["retry-after"]) > 1


def test_two_workers_share_one_limit(make_client: MakeClient, redis_url: str, tmp_path: Path) -> None:
    headers = key_file(tmp_path / "keys.json", per_day=5)
    options: dict[str, Any] = {"keys_file": tmp_path / "keys.json", "history_timeout_s": 30, "deadline_s": 60}
    workers = [make_client(histories(redis_url), **options) for _ in range(2)]
    statuses = [
        worker.post("/recommend", json={"user_id": "ann"}, headers=headers).status_code
        for _ in range(4)
        for worker in workers
    ]
    assert statuses == [200] * 5 + [429] * 3
    with redis.Redis.from_url(redis_url) as direct:
        assert direct.hget(keys.quota("default", "app"), "used") == b"5", "what was refused is not used"
        assert 0 < direct.ttl(keys.quota("default", "app")) <= 172_800


def limited(
    make_client: MakeClient, redis_of: str | None, tmp_path: Path, **limits: float
) -> tuple[TestClient, dict[str, str]]:
    """A server that is never late, and the headers of its one key."""
    headers = key_file(tmp_path / "keys.json", **limits)
    settings = {"keys_file": tmp_path / "keys.json", "history_timeout_s": 30, "deadline_s": 60}
    return make_client(histories(redis_of), **settings), headers


def lines(n: int) -> bytes:
    return b'{"history": ["i1"]}\n' * n


def test_a_batch_costs_its_lines_and_is_refused_as_a_whole(
    make_client: MakeClient, redis_of: str | None, tmp_path: Path
) -> None:
    client, headers = limited(make_client, redis_of, tmp_path, per_day=5)

    def batch(body: bytes) -> Any:
        return client.post("/recommend/batch", content=body, headers=headers)

    assert len(batch(lines(3)).content.splitlines()) == 3
    over = batch(lines(3))
    assert (over.status_code, over.headers["content-type"]) == (429, "application/problem+json")
    assert over.json()["detail"] == (
        "This request counts as 3 and this key's quota for today leaves fewer; send fewer at once or wait."
    )
    assert 1 <= int(over.headers["retry-after"]) <= 86_400
    never = batch(lines(6))
    assert never.status_code == 429
    assert never.json()["detail"] == ("This request counts as 6 and this key may send 5 a day; send fewer at once.")
    assert batch(lines(1)).status_code == 200, "what was refused is not used"
    assert batch(b"").status_code == 422
    assert batch(lines(1)).status_code == 429, "a batch of none was one request"


def test_a_batch_costs_its_lines_of_the_rate(make_client: MakeClient, redis_of: str | None, tmp_path: Path) -> None:
    client, headers = limited(make_client, redis_of, tmp_path, per_second=0.001)
    never = client.post("/recommend/batch", content=lines(2), headers=headers)
    assert never.status_code == 429
    assert never.json()["detail"] == ("This request counts as 2 and this key may send 1 at once; send fewer at once.")
    assert int(never.headers["retry-after"]) == 1, "one line would be let in now"
    assert client.post("/recommend/batch", content=lines(1), headers=headers).status_code == 200
    assert 900 <= int(client.post("/recommend/batch", content=lines(2), headers=headers).headers["retry-after"]) <= 1000


def events(n: int) -> bytes:
    return orjson.dumps([{"user_id": "ann", "item_id": f"i{place}"} for place in range(n)])


def test_a_list_of_events_costs_its_length_and_is_refused_as_a_whole(
    make_client: MakeClient, redis_of: str | None, tmp_path: Path
) -> None:
    client, headers = limited(make_client, redis_of, tmp_path, per_day=5)

    def post(body: bytes) -> Any:
        return client.post("/events", content=body, headers=headers)

    assert post(events(3)).json()["accepted"] == 3
    over = post(events(3))
    assert (over.status_code, over.headers["content-type"]) == (429, "application/problem+json")
    assert "counts as 3" in over.json()["detail"]
    assert post(b'{"user_id": "ann", "item_id": "i1"}').status_code == 202, "what was refused is not used"
    assert post(b"[]").status_code == 422
    assert post(events(1)).status_code == 429, "a list that cannot be read was one request"
    assert value(client, 'retort_events_total{outcome="accepted",type="click"}') == 4


def value(client: TestClient, line: str) -> float:
    (found,) = [row for row in client.get("/metrics").text.splitlines() if row.startswith(f"{line} ")]
    return float(found.rpartition(" ")[2])


def test_the_limit_is_checked_in_the_round_trip_of_the_history(
    make_client: MakeClient, redis_url: str, tmp_path: Path
) -> None:
    headers = key_file(tmp_path / "keys.json", per_second=1000)
    client = make_client(histories(redis_url), keys_file=tmp_path / "keys.json", history_timeout_s=30, deadline_s=60)
    assert client.post("/recommend", json={"user_id": "ann"}, headers=headers).status_code == 200
    assert value(client, 'retort_batch_size_count{stage="history"}') == 1, "one trip"
    assert value(client, 'retort_batch_size_sum{stage="history"}') == 2, "for both"
    assert value(client, "retort_limits_by_worker_total") == 0


def test_without_redis_each_worker_limits_alone_and_counts_it(make_client: MakeClient, tmp_path: Path) -> None:
    headers = key_file(tmp_path / "keys.json", per_day=2)
    client = make_client(RedisHistory.from_url("redis://127.0.0.1:1"), keys_file=tmp_path / "keys.json")
    statuses = [client.get("/models", headers=headers).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert value(client, "retort_limits_by_worker_total") == 3


def test_a_command_refused_by_redis_does_not_fail_the_histories(redis_url: str) -> None:
    async def scenario() -> None:
        store = RedisHistory.from_url(redis_url)
        rows, answers = await store.recent_with_commands([], 5, [("EVAL", "no lua", 0), ("PING",)])
        assert rows == []
        assert isinstance(answers[0], redis.ResponseError)
        assert answers[1]
        await store.close()

    asyncio.run(scenario())


def test_the_rate_by_redis_allows_its_burst_and_refills(redis_url: str) -> None:
    async def scenario() -> None:
        store = RedisHistory.from_url(redis_url)

        async def ask(command: Command) -> Any:
            return (await store.recent_with_commands([], 1, [command]))[1][0]

        limits = RateLimiter(ask)

        async def allowed(n: int) -> int:
            count = 0
            for _ in range(n):
                limit_check = limits.take("default", "app", 20.0, 0)
                assert limit_check is not None
                with contextlib.suppress(Problem):
                    await limit_check
                    count += 1
            return count

        started = time.monotonic()
        first = await allowed(60)
        passed_s = time.monotonic() - started
        assert 20 <= first <= 21 + 20 * passed_s
        while not await allowed(1):
            await asyncio.sleep(0.01)
        # A clock that had been an hour ahead left this behind.
        await store.client.set(keys.rate("default", "app"), str((time.time() + 3600) * 1000))
        assert await allowed(1) == 1
        await store.close()

    asyncio.run(scenario())


def test_a_failing_store_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def away(command: Command) -> Any:
        raise StoreError("away")

    async def scenario() -> None:
        limits = RateLimiter(away)
        assert limits.take("default", "free", 0, 0) is None
        for _ in range(2):
            limit_check = limits.take("default", "app", 0, 2)
            assert limit_check is not None
            await limit_check
        over = limits.take("default", "app", 0, 2)
        assert over is not None
        with pytest.raises(Problem, match="quota"):
            await over

    asyncio.run(scenario())
    assert len([record for record in caplog.records if "limits on its own" in record.message]) == 1


def test_a_bucket_refills_with_time_and_not_when_the_clock_goes_back() -> None:
    now = [100.0]
    bucket = TokenBucket(2.0, lambda: now[0])
    assert [bucket.take(), bucket.take()] == [0.0, 0.0]
    assert bucket.take() == pytest.approx(0.5)
    now[0] = 50.0
    assert bucket.take() > 0
    now[0] = 50.5
    assert bucket.take() == 0.0
    now[0] = 1e9
    assert [bucket.take(), bucket.take()] == [0.0, 0.0]
    assert bucket.take() > 0


def test_a_bucket_takes_all_or_nothing() -> None:
    bucket = TokenBucket(4.0, lambda: 100.0)
    assert bucket.take(3) == 0.0
    assert bucket.take(2) == pytest.approx(0.25)
    assert bucket.take(9) == pytest.approx(0.75), "until it is full: nine are never there"
    assert bucket.take(1) == 0.0
    bucket.refund(2)
    assert bucket.take(2) == 0.0


def test_a_batch_above_the_quota_refunds_the_rate() -> None:
    async def scenario() -> None:
        limits = RateLimiter(clock=lambda: 100.0)
        limit_check = limits.take("default", "app", 4.0, 3, 4)
        assert limit_check is not None
        with pytest.raises(Problem, match="3 a day"):
            await limit_check
        limit_check = limits.take("default", "app", 4.0, 3, 3)
        assert limit_check is not None
        await limit_check

    asyncio.run(scenario())


@pytest.mark.parametrize("cost", [3, 7, 20])
def test_a_whole_burst_by_redis_is_one_batch(redis_url: str, cost: int) -> None:
    async def scenario() -> None:
        store = RedisHistory.from_url(redis_url)

        async def ask(command: Command) -> Any:
            return (await store.recent_with_commands([], 1, [command]))[1][0]

        limit_check = RateLimiter(ask).take("default", f"app{cost}", float(cost), 0, cost)
        assert limit_check is not None
        await limit_check
        await store.close()

    asyncio.run(scenario())


def test_a_quota_lasts_a_day_when_the_clock_goes_back() -> None:
    now = [10 * 86_400.0]
    quota = DailyQuota(2, lambda: now[0])
    assert [quota.take(), quota.take(), quota.take()] == [0.0, 0.0, 86_400.0]
    now[0] -= 86_400
    assert quota.take() > 0
    now[0] += 2 * 86_400
    assert quota.take() == 0.0


def test_a_clock_that_was_a_year_ahead_blocks_no_caller() -> None:
    now = [375 * 86_400.0]
    quota = DailyQuota(1, lambda: now[0])
    assert [quota.take(), quota.take()] == [0.0, 86_400.0]
    now[0] -= 365 * 86_400
    assert [quota.take(), quota.take()] == [0.0, 86_400.0]
