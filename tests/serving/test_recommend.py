"""Recommendations and events: personal lists, labelled fallbacks, clear errors."""

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient

from retort.offline.evaluation.promotion_gate import BundleRanker
from retort.offline.export.batch_recommender import BatchRecommender
from retort.serving.recommend.user_context import HistoryReader
from retort.shared.base.errors import StoreError
from retort.shared.history.store import MemoryHistory, Owner
from retort.shared.model.bundle import open_bundle
from retort.shared.model.item_index import ItemIndex
from tests.serving._graphs import make_bundle
from tests.serving.conftest import MakeClient


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def test_an_inline_history_is_ranked_by_the_student(client: TestClient, bundle_path: Path) -> None:
    bundle = open_bundle(bundle_path)
    for golden in bundle.golden:
        answer = client.post("/recommend", json={"history": golden.history, "k": golden.k}).json()
        assert ids(answer) == golden.items
        assert [item["score"] for item in answer["items"]] == pytest.approx(golden.scores, rel=1e-4)
        assert [item["rank"] for item in answer["items"]] == list(range(1, golden.k + 1))
        assert (answer["source"], answer["fallback_reason"]) == ("student", None)
        assert answer["model"] == {"name": "tiny", "version": bundle.bundle_id}
        assert answer["request_id"]


def test_the_next_recommendation_uses_the_event(client: TestClient) -> None:
    stranger = client.post("/recommend", json={"user_id": "ann", "k": 5}).json()
    assert (stranger["source"], stranger["fallback_reason"]) == ("popular", "unknown_user")
    assert ids(stranger) == ["i1", "i2", "i3", "i4", "i5"]
    taken = client.post("/events", json={"user_id": "ann", "item_id": "i7"})
    assert taken.status_code == 202
    assert (taken.json()["accepted"], taken.json()["new"]) == (1, 1)
    known = client.post("/recommend", json={"user_id": "ann", "k": 5}).json()
    assert known["source"] == "student"
    assert ids(known) == ids(client.post("/recommend", json={"history": ["i7"], "k": 5}).json())
    client.post("/events", json={"user_id": "ann", "item_id": ids(known)[0]})
    assert ids(client.post("/recommend", json={"user_id": "ann", "k": 5}).json()) != ids(known)


@pytest.mark.parametrize(
    ("seen", "again"),
    [
        ({"seen_hidden": False, "seen_targets": 5, "cases": 100}, True),
        ({"seen_hidden": False, "seen_targets": 4, "cases": 100}, False),
        ({"seen_hidden": True, "seen_targets": 90, "cases": 100}, False),
        ({"seen_hidden": False}, False),
    ],
)
def test_items_are_recommended_again_as_they_were_in_the_test(
    seen: dict[str, object], again: bool, make_client: MakeClient, tmp_path: Path
) -> None:
    path = make_bundle(tmp_path / "bundles", seen=seen)
    client, everything = make_client(bundle=path), [f"i{n}" for n in range(1, 61)]
    for event in ("i7", "i8"):
        client.post("/events", json={"user_id": "ann", "item_id": event})
    for request in ({"user_id": "ann"}, {"history": ["i7", "i8"]}):
        shown = ids(client.post("/recommend", json={**request, "k": 60}).json())
        assert set(shown) == set(everything) - (set() if again else {"i7", "i8"})
    (table,) = [BatchRecommender(open_bundle(path)).table(["ann"], [["i7", "i8"]], 60).column("item_id").to_pylist()]
    assert table == shown, "lists of the command line are those of the server"


def test_the_student_reads_as_much_of_a_history_as_in_the_test(make_client: MakeClient, tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "bundles", evaluation={"last_items": 1})
    client, history = make_client(bundle=path), ["i7", "i8", "i9"]
    for item_id in history:
        client.post("/events", json={"user_id": "ann", "item_id": item_id})
    last = ids(client.post("/recommend", json={"history": ["i9"], "exclude": ["i7", "i8"], "k": 57}).json())
    alike = [{"filter": {"year": {"gte": 1}}, "by": 1}]  # of all items
    for request in ({"user_id": "ann"}, {"history": history}, {"history": history, "boost": alike}):
        shown = ids(client.post("/recommend", json={**request, "k": 57}).json())
        assert shown == last, "the earlier items are hidden, but not read"
    (table,) = [BatchRecommender(open_bundle(path)).table(["ann"], [history], 57).column("item_id").to_pylist()]
    assert table == last
    split = ItemIndex([f"i{n}" for n in range(60, 0, -1)])
    indexes = split.indexes(history)
    (row,) = BundleRanker(open_bundle(path), split).top_k([indexes], 57, [indexes], np.array([0]))
    assert [split.id(int(item)) for item in row] == last, "the promotion gate compares what is served"


def test_an_event_counts_once(client: TestClient) -> None:
    event = {"event_id": "e1", "user_id": "ann", "item_id": "i7", "timestamp": "2026-01-01T00:00:00Z"}
    assert client.post("/events", json=[event, event]).json()["new"] == 1
    assert client.post("/events", json={**event, "timestamp": 1_790_000_000}).json() | {"request_id": ""} == {
        "request_id": "",
        "accepted": 1,
        "new": 0,
    }


def test_an_event_from_a_fast_clock_counts_once(client: TestClient) -> None:
    event = {"user_id": "ann", "item_id": "i7", "timestamp": "2200-01-01T00:00:00Z"}
    told = []
    for _ in range(2):
        told.append(client.post("/events", json=event).json()["new"])
        time.sleep(0.005)
    assert told == [1, 0]


def test_late_events_are_ordered_by_time(client: TestClient) -> None:
    events = [
        {"user_id": "ann", "item_id": item_id, "timestamp": f"2026-01-0{day}T00:00:00Z"}
        for item_id, day in (("i3", 3), ("i1", 1), ("i2", 2))
    ]
    client.post("/events", json=events)
    by_store = client.post("/recommend", json={"user_id": "ann"}).json()
    assert ids(by_store) == ids(client.post("/recommend", json={"history": ["i1", "i2", "i3"]}).json())


def test_types_of_weight_zero_are_not_in_the_history_and_unknown_types_are_refused(client: TestClient) -> None:
    answer = client.post("/events", json={"user_id": "ann", "item_id": "i7", "event_type": "impression"}).json()
    assert (answer["accepted"], answer["new"]) == (1, 0)
    assert client.post("/recommend", json={"user_id": "ann"}).json()["source"] == "popular"
    refused = client.post("/events", json={"user_id": "ann", "item_id": "i7", "event_type": "clikc"})
    assert refused.status_code == 422
    assert "click" in refused.json()["detail"]


def test_the_session_is_used_for_an_unknown_user(client: TestClient) -> None:
    client.post("/events", json={"session_id": "s1", "item_id": "i7"})
    for caller in ({"session_id": "s1"}, {"session_id": "s1", "user_id": "nobody"}):
        answer = client.post("/recommend", json=caller).json()
        assert answer["source"] == "session"
        assert "i7" not in ids(answer)


@pytest.mark.parametrize(("history", "reason"), [([], "empty_history"), (["nobody-knows-this"], "no_known_items")])
def test_unknown_users_get_popular_items(client: TestClient, history: list[str], reason: str) -> None:
    answer = client.post("/recommend", json={"history": history, "k": 2}).json()
    assert (answer["source"], answer["fallback_reason"], ids(answer)) == ("popular", reason, ["i1", "i2"])


def test_seen_and_excluded_items_are_hidden(client: TestClient) -> None:
    for history in (["i1", "i2"], []):
        answer = client.post("/recommend", json={"history": history, "exclude": ["i3", "i4", "?"], "k": 500}).json()
        assert not {"i3", "i4", *history} & set(ids(answer))
        assert len(ids(answer)) == len(set(ids(answer))) == 58 - len(history)
        assert answer["fallback_reason"] in ("not_enough_items", "empty_history")


def test_get_and_post_agree(client: TestClient) -> None:
    query = [("history", "i1"), ("history", "i2"), ("k", "4"), ("exclude", "i9")]
    got = client.get("/recommend", params=query).json()
    posted = client.post("/recommend", json={"history": ["i1", "i2"], "k": 4, "exclude": ["i9"]}).json()
    own = {"request_id": "", "impression": ""}
    assert got | own == posted | own


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"", "body"),
        (b"[]", "body"),
        (b"{}", "body"),
        (b'{"user_id": "u", "k": 0}', "k"),
        (b'{"user_id": "u", "k": 501}', "k"),
        (b'{"user_id": ""}', "user_id"),
        (b'{"user_id": "a\\u0000b"}', "user_id"),
        (b'{"user_id": "u", "top": 3}', "top"),
        (b'{"history": [3]}', "history.0"),
    ],
)
def test_an_invalid_request_is_reported_with_its_location(client: TestClient, body: bytes, where: str) -> None:
    response = client.post("/recommend", content=body)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["errors"][0]["where"] == where


@pytest.mark.parametrize("query", ["", "k=3", "user_id=a&user_id=b", "user_id=%ff", "user_id=a&top=1", "user_id=a&k=x"])
def test_an_invalid_query_string_is_refused(client: TestClient, query: str) -> None:
    assert client.get(f"/recommend?{query}").status_code == 422


def test_a_large_body_is_refused_on_every_route(make_client: MakeClient) -> None:
    client = make_client(max_body_bytes=1024)
    hot, batch = ("/recommend", "/events"), ("/recommend/batch",)
    for path in (*hot, *batch, "/users/ann/merge", "/v2/models/tiny/infer", "/refreshes", "/users/ann/profile"):
        method = "PUT" if path.endswith("profile") else "POST"
        response = client.request(method, path, content=b"x" * 1025, headers={"content-type": "application/json"})
        assert response.status_code == 413, path
        assert response.json()["status"] == 413


class AwayHistory(MemoryHistory):
    """A store that can go away."""

    away = False

    async def recent(self, owners: Any, limit: int) -> list[list[str]]:
        if self.away:
            raise StoreError("away")
        return await super().recent(owners, limit)

    async def append_by_owner(self, events: Any) -> Any:
        if self.away:
            raise StoreError("away")
        return await super().append_by_owner(events)


def test_an_absent_store_gives_labelled_fallbacks_and_no_false_success(make_client: MakeClient) -> None:
    store = AwayHistory()
    client = make_client(store, breaker_failures=2, breaker_rest_s=60)
    client.post("/events", json={"user_id": "ann", "item_id": "i7"})
    known = client.post("/recommend", json={"user_id": "ann"}).json()
    store.away = True
    remembered = client.post("/recommend", json={"user_id": "ann"}).json()
    assert (remembered["source"], remembered["fallback_reason"]) == ("partial_history", "history_unavailable")
    assert ids(remembered) == ids(known)
    stranger = client.post("/recommend", json={"user_id": "bob"}).json()
    assert (stranger["source"], stranger["fallback_reason"]) == ("popular", "history_unavailable")
    lost = client.post("/events", json={"user_id": "ann", "item_id": "i8"})
    assert lost.status_code == 503
    assert lost.headers["retry-after"]
    assert client.get("/health/ready").json() == {"status": "ready", "degraded": ["redis"]}
    metrics = client.get("/metrics").text
    assert 'retort_store_failures_total{call="recent"} 2.0' in metrics
    assert 'retort_answers_total{reason="history_unavailable",source="popular"} 1.0' in metrics


@pytest.mark.parametrize("away", ["user", "session"])
def test_a_list_without_the_sessions_clicks_is_labelled(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    client = make_client()
    who = {"user_id": "ann", "session_id": "s"}
    client.post("/events", json=[{"user_id": "ann", "item_id": "i7"}, {"session_id": "s", "item_id": "i8"}])
    assert client.post("/recommend", json=who).json()["source"] == "student"
    read = HistoryReader.read

    async def half(self: HistoryReader, owner: Owner) -> tuple[list[str] | None, bool]:
        return (None, False) if owner.kind == away else await read(self, owner)

    monkeypatch.setattr(HistoryReader, "read", half)
    answer = client.post("/recommend", json=who).json()
    assert (answer["source"], answer["fallback_reason"]) == ("partial_history", "history_unavailable")


def test_a_history_erased_by_another_worker_is_not_cached(make_client: MakeClient) -> None:
    store = AwayHistory()
    one, other = make_client(store), make_client(store)
    one.post("/events", json={"user_id": "ann", "item_id": "i7"})
    for client in (one, other):
        assert client.post("/recommend", json={"user_id": "ann"}).json()["source"] == "student"
    assert one.delete("/users/ann").status_code == 202
    assert other.post("/recommend", json={"user_id": "ann"}).json()["source"] == "popular"
    store.away = True
    for client in (one, other):
        answer = client.post("/recommend", json={"user_id": "ann"}).json()
        assert (answer["source"], answer["fallback_reason"]) == ("popular", "history_unavailable")


def test_a_slow_store_costs_no_more_than_its_timeout(make_client: MakeClient) -> None:
    class Slow(MemoryHistory):
        async def recent(self, owners: Any, limit: int) -> list[list[str]]:
            await asyncio.sleep(30)
            return [[]]

    client = make_client(Slow(), history_timeout_s=0.05)
    answer = client.post("/recommend", json={"user_id": "ann"}).json()
    assert (answer["source"], answer["fallback_reason"]) == ("popular", "history_unavailable")
    client = make_client(Slow(), deadline_s=0.05)
    answer = client.post("/recommend", json={"user_id": "ann"}).json()
    assert (answer["source"], answer["fallback_reason"]) == ("popular", "deadline")


@pytest.mark.parametrize(
    "who", [{"user_id": "ann"}, {"session_id": "ann"}, {"user_id": "stranger", "session_id": "ann"}]
)
def test_at_the_deadline_cached_items_stay_hidden(make_client: MakeClient, who: dict[str, Any]) -> None:
    class Late(MemoryHistory):
        late = False

        async def recent(self, owners: Any, limit: int) -> list[list[str]]:
            await asyncio.sleep(30 if self.late else 0)
            return await super().recent(owners, limit)

    store = Late()
    client = make_client(store, deadline_s=0.1, history_timeout_s=20)
    client.post("/events", json=[{"user_id": "ann", "item_id": "i1"}, {"session_id": "ann", "item_id": "i1"}])
    assert client.post("/recommend", json=who).json()["source"] in ("student", "session")
    store.late = True
    answer = client.post("/recommend", json=who).json()
    assert (answer["source"], answer["fallback_reason"]) == ("similar_items", "deadline")
    assert "i1" not in ids(answer)


def test_an_inline_history_survives_late_themes(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def late(*_: Any) -> tuple[()]:
        await asyncio.sleep(30)
        return ()

    monkeypatch.setattr(HistoryReader, "themes", late)
    who = {"user_id": "ann", "history": ["i1"], "explain": True}
    answer = make_client(deadline_s=0.1).post("/recommend", json=who).json()
    assert (answer["source"], answer["fallback_reason"]) == ("similar_items", "deadline")
    assert "i1" not in ids(answer)


def test_without_a_bundle_the_static_list_answers_or_503(make_client: MakeClient) -> None:
    client = make_client(bundle=None, static_items=("a", "b", "c"))
    answer = client.post("/recommend", json={"history": ["b"], "exclude": ["c"]}).json()
    assert (answer["source"], answer["fallback_reason"], answer["model"]) == ("static", "no_bundle", None)
    assert ids(answer) == ["a"]
    assert client.get("/health/live").status_code == 200
    assert client.get("/health/ready").status_code == 503
    empty = make_client(bundle=None).post("/recommend", json={"history": []})
    assert empty.status_code == 503
    assert empty.headers["retry-after"]


def test_responses_are_private_and_carry_the_callers_request_id(client: TestClient) -> None:
    for response in (
        client.post("/recommend", json={"history": []}, headers={"x-request-id": "mine-1"}),
        client.get("/models", headers={"x-request-id": "mine-1"}),
    ):
        assert response.headers["cache-control"] == "private, no-store"
        assert response.headers["x-request-id"] == "mine-1"
    assert client.get("/models", headers={"x-request-id": "a b\t"}).headers["x-request-id"] != "a b\t"


def test_no_id_is_in_logs_or_metrics(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    client.post("/recommend", json={"user_id": "secret-user", "history": ["secret-item"]})
    client.post("/events", json={"user_id": "secret-user", "item_id": "secret-item"})
    client.get("/recommend", params={"user_id": "secret-user"})
    client.get("/users/secret-user/history")
    told = "".join(str(vars(record)) for record in caplog.records if record.name.startswith("retort."))
    assert "degraded" in told
    assert "secret" not in told + client.get("/metrics").text


def test_the_description_names_every_path(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    paths = document["paths"]
    assert {"/recommend", "/events", "/health/live", "/health/ready", "/metrics", "/models"} <= set(paths)
    assert set(paths["/recommend"]) == {"get", "post"}
    assert "RecommendRequest" in str(paths["/recommend"]["post"]["requestBody"])
    assert document["components"]["schemas"]["RecommendRequest"]["examples"]


def test_concurrent_requests_get_their_own_lists(bundle_path: Path, make_client: MakeClient) -> None:
    app = make_client(max_batch=8).app
    alone = make_client()

    async def scenario() -> list[dict[str, Any]]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as caller:
            asked = [caller.post("/recommend", json={"history": [f"i{n}"], "k": n}) for n in range(1, 51)]
            return [response.json() for response in await asyncio.gather(*asked)]

    for n, answer in enumerate(asyncio.run(scenario()), start=1):
        single = alone.post("/recommend", json={"history": [f"i{n}"], "k": n}).json()
        assert ids(answer) == ids(single)
