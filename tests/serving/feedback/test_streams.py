"""Streams of events and exposures that Redis refuses: one key of another type must not take more than its own work."""

import time
from typing import Any, cast

import pytest
import redis
from starlette.testclient import TestClient

from retort.shared.base.errors import StoreError
from retort.shared.events.drain import drain
from retort.shared.history import keys
from retort.shared.history.redis_history import RedisHistory
from tests.serving.conftest import MakeClient


@pytest.fixture
def client(make_client: MakeClient, redis_url: str) -> TestClient:
    client = make_client(RedisHistory.from_url(redis_url, timeout_s=30), history_timeout_s=30, deadline_s=60)
    assert _tell(client, "ann").status_code == 202
    return client


def _tell(client: TestClient, user_id: str) -> Any:
    return client.post("/events", json={"user_id": user_id, "item_id": "i7"})


def _ask(client: TestClient, user_id: str) -> tuple[str, str | None]:
    answer = client.post("/recommend", json={"user_id": user_id}).json()
    return answer["source"], answer["fallback_reason"]


def test_without_its_stream_no_event_is_accepted_and_every_answer_is_complete(
    client: TestClient, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with redis.Redis.from_url(redis_url) as store:
        store.delete(keys.event_stream())
        store.set(keys.event_stream(), "of another program")
        refused = _tell(client, "bob")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert _ask(client, "ann") == ("student", None)
        assert _ask(client, "bob") == ("popular", "unknown_user"), "a refused event is in no history"
        [record] = [record for record in caplog.records if record.message == "events were not stored"]
        assert f"delete or rename the key {keys.event_stream()}" in record.reason  # type: ignore[attr-defined]
        with pytest.raises(StoreError, match=f"delete or rename the key {keys.event_stream()}"):
            drain(redis_url, cast(Any, None), worker="one")
        store.delete(keys.event_stream())
        assert _tell(client, "bob").status_code == 202
        assert _ask(client, "bob") == ("student", None)


def test_without_the_stream_of_exposures_answers_and_events_go_on(client: TestClient, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as store:
        store.delete(keys.exposure_stream())
        store.set(keys.exposure_stream(), "of another program")
        assert _ask(client, "ann") == ("student", None)
        assert _tell(client, "ann").status_code == 202
        store.delete(keys.exposure_stream())
        until = time.monotonic() + 20
        while not store.exists(keys.exposure_stream()):
            assert time.monotonic() < until, "what waited in memory is written"
            time.sleep(0.05)
