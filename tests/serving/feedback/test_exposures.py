"""Exposures are written in the background, and events are attributed to them."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from starlette.testclient import TestClient

from retort.serving.feedback import exposures as module
from retort.serving.feedback.exposures import ExposureBuffer
from retort.serving.runtime.metrics import Metrics
from retort.serving.schemas.tokens import Impression, read_impression
from retort.shared.base.errors import StoreError
from retort.shared.events.drain import drain_exposures
from retort.shared.events.exposures import Exposure, ExposureWriter
from retort.shared.history import keys
from retort.shared.history.redis_history import RedisHistory
from tests.serving.conftest import MakeClient


def shown(n: int, user_id: str | None = "ann", shown_ms: int = 1000) -> Exposure:
    return Exposure(f"r{n}", "default", shown_ms, "student", (f"i{n}", "i9"), user_id=user_id)


class Kept:
    def __init__(self) -> None:
        self.rows: list[Exposure] = []

    def keep(self, rows: Sequence[Exposure], /) -> None:
        self.rows.extend(rows)

    def forget(self, tenant: str, user_id: str, until_ms: int) -> int:
        return 0

    def sessions_of(self, tenant: str, user_id: str) -> list[str]:
        return []

    def forget_session(self, tenant: str, session_id: str, until_ms: int) -> int:
        return 0


class Writer(ExposureWriter):
    """Writes to a list; fails while it is told to."""

    def __init__(self) -> None:
        self.batches: list[list[Exposure]] = []
        self.away = False

    async def add(self, batches: Sequence[Sequence[Exposure]]) -> None:
        if self.away:
            raise StoreError("away")
        self.batches += [list(batch) for batch in batches]


def test_kserve_inference_records_an_exposure(make_client: MakeClient, redis_url: str) -> None:
    client = make_client(RedisHistory.from_url(redis_url), max_k=5)
    asked = {"inputs": [{"name": "history", "datatype": "BYTES", "shape": [1], "data": ["i1"]}]}
    response = client.post("/v2/models/tiny/infer", json=asked | {"parameters": {"k": 3}})
    assert client.post("/v2/models/tiny/infer", json=asked | {"parameters": {"k": 6}}).status_code == 422
    text = client.get("/metrics").text
    client.__exit__(None, None, None)
    store = Kept()
    assert drain_exposures(redis_url, store, worker="w") == 1
    assert list(store.rows[0].item_ids) == response.json()["outputs"][0]["data"]
    assert (store.rows[0].request_id, store.rows[0].source) == (response.headers["x-request-id"], "student")
    assert 'retort_exposures_total{experiment="none",source="student",variant="none"} 1.0' in text


def test_exposures_hold_all_fields_for_training(make_client: MakeClient, redis_url: str) -> None:
    client = make_client(RedisHistory.from_url(redis_url))
    client.post("/events", json={"user_id": "ann", "item_id": "i7"})
    answer = client.post("/recommend", json={"user_id": "ann", "k": 3}).json()
    page = client.post("/recommend", json={"user_id": "ann", "k": 3, "next": answer["next"]}).json()
    client.post("/recommend", json={"user_id": "ann", "dry_run": True})
    similar = client.get("/similar/i7?k=2").json()
    client.__exit__(None, None, None)  # what waits is written on the way out
    store = Kept()
    assert drain_exposures(redis_url, store, worker="w") == 3
    first, second, third = store.rows
    assert list(first.item_ids) == [item["item_id"] for item in answer["items"]]
    assert (first.request_id, first.user_id, first.source, first.reason) == (
        answer["request_id"],
        "ann",
        "student",
        None,
    )
    assert {"name": first.model, "version": first.version} == answer["model"]
    assert (second.first_rank, list(second.item_ids)) == (4, [item["item_id"] for item in page["items"]])
    assert (third.source, third.request_id, third.user_id) == ("similar_items", similar["request_id"], None)


def metric(client: TestClient, line: str) -> float:
    found = [row for row in client.get("/metrics").text.splitlines() if row.startswith(f"{line} ")]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


@pytest.fixture(params=["memory", "redis"])
def histories(request: pytest.FixtureRequest) -> RedisHistory | None:
    return RedisHistory.from_url(request.getfixturevalue("redis_url")) if request.param == "redis" else None


def test_a_click_counts_once_for_the_list_that_showed_it(
    make_client: MakeClient, histories: RedisHistory | None, tmp_path: Path
) -> None:
    file = tmp_path / "e.json"
    file.write_bytes(orjson.dumps({"name": "trial", "variants": [{"name": "only.one", "share": 1}]}))
    client = make_client(histories, experiment=file)
    answer = client.post("/recommend", json={"user_id": "ann", "k": 4}).json()
    labels = 'experiment="trial",source="popular"'
    assert metric(client, f'retort_exposures_total{{{labels},variant="only.one"}}') == 1
    assert metric(client, f'retort_exposed_items_total{{{labels},variant="only.one"}}') == 4
    assert metric(client, f'retort_answer_seconds_count{{{labels},variant="only.one"}}') == 1
    click: dict[str, Any] = {"user_id": "ann", "item_id": "i1", "event_id": "e", "impression": answer["impression"]}
    for event in (click, click, {**click, "event_id": "e2"}, {**click, "item_id": "i2", "event_type": "purchase"}):
        assert client.post("/events", json=event).status_code == 202
    line = 'retort_exposed_events_total{experiment="trial",source="popular",type="%s",variant="only.one"}'
    assert metric(client, line % "click") == 1
    assert metric(client, line % "purchase") == 1


def test_a_click_is_not_attributed_to_a_later_ab_test(make_client: MakeClient, tmp_path: Path) -> None:
    def served(name: str) -> TestClient:
        file = tmp_path / f"{name}.json"
        file.write_bytes(orjson.dumps({"name": name, "variants": [{"name": "new", "share": 1}]}))
        return make_client(experiment=file)

    shown_by_first = served("first").post("/recommend", json={"user_id": "ann"}).json()["impression"]
    client = served("second")
    own = client.post("/recommend", json={"user_id": "ann"}).json()["impression"]
    given_out_before = "r1.popular.new"  # such tokens named no experiment
    for item, token in enumerate((shown_by_first, own, given_out_before), start=1):
        click = {"user_id": "ann", "item_id": f"i{item}", "impression": token}
        assert client.post("/events", json=click).status_code == 202
    line = 'retort_exposed_events_total{experiment="%s",source="popular",type="click",variant="%s"}'
    assert metric(client, line % ("second", "new")) == 2
    assert metric(client, line % ("none", "none")) == 1


def test_a_click_sent_again_after_a_partial_failure_counts_once(make_client: MakeClient, redis_url: str) -> None:
    store = RedisHistory.from_url(redis_url)
    client, append = make_client(store), store.append_by_owner
    click = {"user_id": "ann", "item_id": "i1", "event_id": "e", "impression": Impression("r", "student").token}

    async def away(events: Any) -> Any:
        raise StoreError("away between the stream and the history")

    store.append_by_owner = away  # type: ignore[method-assign]
    assert client.post("/events", json=click).status_code == 503
    store.append_by_owner = append  # type: ignore[method-assign]
    assert client.post("/events", json=click).status_code == 202
    line = 'retort_exposed_events_total{experiment="none",source="student",type="click",variant="none"}'
    assert metric(client, line) == 1


def test_unknown_names_in_a_token_are_no_labels(client: TestClient) -> None:
    made_up = {"user_id": "ann", "item_id": "i1", "impression": "r.nobody.variant"}
    assert client.post("/events", json=made_up).status_code == 202
    line = 'retort_exposed_events_total{experiment="none",source="unknown",type="click",variant="none"}'
    assert metric(client, line) == 1
    assert client.post("/events", json={**made_up, "impression": "no token"}).status_code == 422


def test_an_event_is_stored_with_the_request_of_its_impression(make_client: MakeClient, redis_url: str) -> None:
    client = make_client(RedisHistory.from_url(redis_url))
    token = Impression("abc-7", "student", "").token
    client.post("/events", json={"user_id": "ann", "item_id": "i1", "impression": token})
    with redis.Redis.from_url(redis_url) as direct:
        ((_, entry),) = direct.xrange(keys.event_stream())
    assert orjson.loads(entry[b"event"])["request_id"] == "abc-7"


@pytest.mark.parametrize(
    "impression",
    [Impression("a", "popular"), Impression("a-1", "student", "v.1"), Impression("a", "student", "v.1", "e.2")],
)
def test_impression_tokens_round_trip(impression: Impression) -> None:
    assert read_impression(impression.token) == impression


def test_exposures_wait_up_to_the_limit_while_the_store_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 250)
    writer, metrics = Writer(), Metrics()

    async def scenario() -> None:
        log = ExposureBuffer(writer, metrics)
        writer.away = True
        for n in range(260):
            log.add(shown(n))
            if n == 200:
                await log.write()
        writer.away = False
        await log.finish()

    asyncio.run(scenario())
    assert [len(batch) for batch in writer.batches] == [100, 100, 50]
    assert [row.request_id for batch in writer.batches for row in batch] == [f"r{n}" for n in range(10, 260)]
    text = metrics.render().decode()
    assert 'retort_exposures_written_total{outcome="dropped"} 10.0' in text
    assert 'retort_exposures_written_total{outcome="written"} 250.0' in text


def test_the_writer_continues_after_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WRITE_INTERVAL_S", 0.001)

    class Torn(Writer):
        async def add(self, batches: Sequence[Sequence[Exposure]]) -> None:
            if not self.away:
                self.away = True
                raise ValueError("a fault of ours")
            self.batches += [list(batch) for batch in batches]

    async def scenario() -> None:
        writer = Torn()
        log = ExposureBuffer(writer, Metrics())
        log.add(shown(1))
        writing = asyncio.create_task(log.run())
        async with asyncio.timeout(10):
            while not writer.batches:
                await asyncio.sleep(0.001)
        writing.cancel()
        assert [row.request_id for row in writer.batches[0]] == ["r1"]

    asyncio.run(scenario())


def test_an_absent_redis_delays_no_response(make_client: MakeClient) -> None:
    client = make_client(RedisHistory.from_url("redis://127.0.0.1:1"))
    assert client.post("/recommend", json={"history": ["i1"]}).json()["source"] == "student"
    assert client.post("/recommend", json={"user_id": "ann"}).json()["source"] == "popular"


def test_the_stream_is_bounded_and_erased_users_are_left_out(redis_url: str) -> None:
    async def write(kept: int, batches: list[list[Exposure]]) -> None:
        store = RedisHistory.from_url(redis_url)
        for batch in batches:
            await ExposureWriter(store.client, kept).add([batch])
        await store.close()

    asyncio.run(write(5, [[shown(n)] for n in range(500)]))
    with redis.Redis.from_url(redis_url) as client:
        assert client.xlen(keys.exposure_stream()) <= 200, "Redis trims by whole nodes"
        client.delete(keys.exposure_stream())
        client.set(keys.erasure("default", "ann"), orjson.dumps({"requested_ms": 2000}))
    rows = [shown(1), shown(2, "bob"), shown(3, None), shown(4, shown_ms=3000)]
    asyncio.run(write(5, [rows]))
    store = Kept()
    assert drain_exposures(redis_url, store, worker="w") == 3
    assert store.rows == rows[1:]
