"""A user's data can be read, merged and erased."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis
from starlette.testclient import TestClient

from retort.serving.users.erasure import Erasure, ErasureStore, MemoryErasureStore, RedisErasureStore
from retort.serving.users.user_data import UserDataService
from retort.shared.base.errors import StoreError
from retort.shared.db.migrate import upgrade
from retort.shared.db.models import Profile
from retort.shared.db.session import open_database, transaction
from retort.shared.events.drain import drain, drain_exposures
from retort.shared.events.events import StreamedEvent
from retort.shared.events.events_table import EventsTable, read_events, store_events
from retort.shared.events.exposures import Exposure, ExposureWriter
from retort.shared.events.exposures_table import ExposuresTable, read_exposures
from retort.shared.history import keys
from retort.shared.history.history_load import load_histories
from retort.shared.history.redis_history import RedisHistory
from retort.shared.history.store import Entry, HistoryEvent, MemoryHistory, Owner
from tests.serving.conftest import MakeClient

ANN = Owner("ann")


def add_event(client: TestClient, item_id: str, **who: str) -> None:
    assert client.post("/events", json={"item_id": item_id, **who}).status_code == 202


def add_profile(database_url: str, user_id: str, tenant: str = "default") -> None:
    engine = open_database(database_url)
    with transaction(engine) as session:
        session.add(
            Profile(
                tenant=tenant,
                user_id=user_id,
                aspect="short",
                history_hash="h",
                prompt_version="p",
                model="m",
                text="Likes.",
            )
        )
    engine.dispose()


def add_row(database_url: str, user_id: str) -> None:
    engine = open_database(database_url)
    store_events(engine, [StreamedEvent("e1", "default", "i1", "click", 1.0, 5, 10, user_id)])
    ExposuresTable(engine).keep([Exposure("r1", "default", 5, "student", ("i2", "i3"), user_id=user_id)])
    engine.dispose()


def add_lists(redis_url: str, shown: list[Exposure]) -> None:
    async def scenario() -> None:
        store = RedisHistory.from_url(redis_url)
        await ExposureWriter(store.client, 100).add([shown])
        await store.close()

    asyncio.run(scenario())


def entries_of(redis_url: str, owner: Owner) -> list[str]:
    async def scenario() -> list[str]:
        store = RedisHistory.from_url(redis_url)
        (item_ids,) = await store.recent([owner], 9)
        await store.close()
        return item_ids

    return asyncio.run(scenario())


@pytest.fixture
def database(tmp_path: Path) -> str:
    """The server's own, with its tables."""
    url = f"sqlite:///{(tmp_path / 'retort.db').absolute()}"
    upgrade(url)
    return url


def test_events_from_before_1970_are_stored_and_merged(client: TestClient) -> None:
    event = {"user_id": "guest", "item_id": "i4", "timestamp": "1969-06-01T00:00:00Z"}
    assert client.post("/events", json=event).json()["new"] == 1
    assert client.post("/users/ann/merge", json={"user_id": "guest"}).json()["moved"] == 1
    (stored,) = client.get("/users/ann/history").json()["events"]
    assert (stored["item_id"], stored["time_ms"]) == ("i4", -18_489_600_000)


def test_a_history_is_returned_and_merged_once(client: TestClient) -> None:
    add_event(client, "i1", user_id="a/b c")
    add_event(client, "i2", session_id="s")
    shown = client.get("/users/a%2Fb c/history").json()
    assert [event["item_id"] for event in shown["events"]] == ["i1"]
    assert client.post("/users/a%2Fb c/merge", json={"session_id": "s"}).json()["moved"] == 1
    assert client.post("/users/a%2Fb c/merge", json={"session_id": "s"}).json()["moved"] == 0
    known = client.get("/users/a%2Fb c").json()
    assert [event["item_id"] for event in known["events"]] == ["i1", "i2"]
    assert client.post("/recommend", json={"session_id": "s"}).json()["source"] == "popular"


@pytest.mark.parametrize(("sent", "user"), [(" ann", "ann"), ("ann ", "ann"), ("1.0", "1")])
def test_one_user_has_one_id_however_it_is_sent(client: TestClient, sent: str, user: str) -> None:
    add_event(client, " i7", user_id=sent)
    add_event(client, "i8", session_id=f" {user}")
    assert [event["item_id"] for event in client.get(f"/users/{user}/history").json()["events"]] == ["i7"]
    assert len(client.get(f"/users/{quote(sent)}/history").json()["events"]) == 1
    assert client.post(f"/users/{quote(sent)}/merge", json={"session_id": user}).json()["moved"] == 1
    answers = [client.post("/recommend", json={"user_id": name, "k": 5}).json() for name in (sent, user)]
    answers.append(client.get("/recommend", params={"user_id": sent, "k": 5}).json())
    answers.append(client.post("/recommend", json={"history": ["i7 ", "i8"], "k": 5}).json())
    assert {answer["source"] for answer in answers[:3]} == {"student"}
    assert all(answer["items"] == answers[0]["items"] for answer in answers)
    hidden = client.post("/recommend", json={"user_id": user, "k": 60, "exclude": [" i9"]}).json()["items"]
    assert "i9" not in [item["item_id"] for item in hidden]
    assert client.get("/similar/%20i7").status_code == client.get("/items/i7%20").status_code == 200
    assert client.delete(f"/users/{quote(sent)}").json()["history"] == 2
    assert client.get(f"/users/{user}").json()["events"] == []


def test_data_that_earlier_versions_stored_under_the_id_as_sent_are_read_merged_and_erased(
    make_client: MakeClient, database: str
) -> None:
    store = MemoryHistory()
    client = make_client(store)
    owners = [Owner(" ann"), ANN, Owner(" bob"), Owner(" s", kind="session")]
    asyncio.run(store.append([HistoryEvent(owner, f"i{n}", 10 - n, "e") for n, owner in enumerate(owners)]))
    add_profile(database, " ann")
    known = client.get("/users/%20ann").json()
    assert ([event["item_id"] for event in known["events"]], len(known["profiles"])) == (["i1", "i0"], 1)
    assert [event["item_id"] for event in client.get("/users/ann").json()["events"]] == ["i1"]
    assert client.post("/users/bob/merge", json={"user_id": " bob"}).json()["moved"] == 1
    assert client.post("/users/eve/merge", json={"session_id": " s"}).json()["moved"] == 1
    gone = client.delete("/users/%20ann").json()
    assert (gone["status"], gone["history"], gone["profiles"]) == ("done", 2, 1)
    assert client.get("/users/%20ann/erasure").json()["history"] == 2
    assert client.get("/users/%20ann").json()["events"] == []


@pytest.mark.parametrize("tail", ["history", "profile", "profile/choice", "erasure", "merge"])
def test_a_user_id_that_ends_like_a_route_is_distinct(client: TestClient, tmp_path: Path, tail: str) -> None:
    url = f"sqlite:///{tmp_path / 'retort.db'}"
    upgrade(url)
    user = f"a/{tail}"
    for user_id in ("a", user):
        add_event(client, "i1", user_id=user_id)
        add_profile(url, user_id)
    address = f"/users/{quote(user, safe='')}"
    known = client.get(address).json()
    assert [len(known["events"]), len(known["profiles"])] == [1, 1]
    assert len(client.get(f"{address}/history").json()["events"]) == 1
    gone = client.delete(address).json()
    assert (gone["history"], gone["profiles"]) == (1, 1)
    assert client.get(f"{address}/erasure").json()["status"] == "done"
    left = client.get("/users/a").json()
    assert [len(left["events"]), len(left["profiles"])] == [1, 1]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/users/%2F/", "/users%2F/", "/users/%00%2f", "/users/a%1Fb", "/users/%2f/profile/"])
def test_slashes_in_a_path_cause_no_server_error(client: TestClient, path: str, method: str) -> None:
    assert client.request(method, path, follow_redirects=False).status_code < 500


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/users/%ff"), ("DELETE", "/users/%fe%ff"), ("GET", "/users/a%F0%9F/history"), ("GET", "/items/%c3")],
)
def test_a_path_that_is_not_text_is_nobodys(client: TestClient, method: str, path: str) -> None:
    client.post("/events", json={"user_id": "\ufffd", "item_id": "i1"})
    response = client.request(method, path)
    assert response.status_code == 422
    assert "percent-encoded UTF-8" in response.json()["detail"]
    assert len(client.get("/users/%EF%BF%BD/history").json()["events"]) == 1


@pytest.mark.parametrize("body", [{}, {"session_id": "s", "user_id": "u"}, {"guest": "s"}])
def test_a_merge_names_one_guest(client: TestClient, body: dict[str, str]) -> None:
    assert client.post("/users/ann/merge", json=body).status_code == 422


def test_an_erasure_leaves_nothing(client: TestClient, tmp_path: Path) -> None:
    database_url = f"sqlite:///{(tmp_path / 'retort.db').absolute()}"
    upgrade(database_url)
    for user in ("ann", "bob"):
        add_profile(database_url, user)
        add_event(client, "i1", user_id=user)
        add_row(database_url, user)
    seen = client.get("/users/ann").json()
    assert seen["profiles"][0]["text"] == "Likes."
    assert (seen["stored"]["n_events"], seen["stored"]["events"][0]["item_id"]) == (1, "i1")
    assert (seen["stored"]["n_exposures"], seen["stored"]["exposures"][0]["item_ids"]) == (1, ["i2", "i3"])
    assert client.get("/users/ann/erasure").status_code == 404
    erased = client.delete("/users/ann")
    assert erased.status_code == 202
    erasure = client.get("/users/ann/erasure").json()
    assert (erasure["status"], erasure["history"], erasure["profiles"], erasure["events"]) == ("done", 1, 1, 1)
    assert erasure["exposures"] == 1
    known = client.get("/users/ann").json()
    assert (known["events"], known["profiles"]) == ([], [])
    stored = known["stored"]
    assert (stored["n_events"], stored["n_exposures"], stored["choice"]["kind"]) == (0, 0, "erased")
    assert client.post("/recommend", json={"user_id": "ann"}).json()["fallback_reason"] == "unknown_user"
    assert len(client.get("/users/bob").json()["profiles"]) == 1


@pytest.mark.parametrize("drained", [True, False], ids=["the table names the session", "the stream names it"])
def test_an_erasure_includes_sessions_and_waiting_streams(
    make_client: MakeClient, redis_url: str, database: str, drained: bool
) -> None:
    client = make_client(RedisHistory.from_url(redis_url))
    engine = open_database(database)
    events, lists = EventsTable(engine), ExposuresTable(engine)
    for session in ("hers", "strange"):
        add_event(client, "i1", session_id=session)
    add_event(client, "i2", user_id="ann", session_id="hers")
    if drained:
        drain(redis_url, events, worker="w")
        add_event(client, "i3", session_id="hers")  # still on the stream when she goes
    lists.keep([Exposure("r1", "default", 5, "popular", ("i4",), session_id="hers")])
    time.sleep(0.005)
    erased = client.delete("/users/ann").json()
    assert erased["status"] == "done"
    add_lists(redis_url, [Exposure("r2", "default", 5, "popular", ("i4",), session_id="hers")])
    time.sleep(0.005)
    add_event(client, "i5", session_id="hers")
    drain(redis_url, events, worker="w")
    drain_exposures(redis_url, lists, worker="w")
    rows = [row for chunk in read_events(engine) for row in chunk]
    assert sorted((row.session_id, row.item_id) for row in rows) == [("hers", "i5"), ("strange", "i1")]
    assert [chunk for chunk in read_exposures(engine) if chunk] == []
    left = {session: entries_of(redis_url, Owner(session, kind="session")) for session in ("hers", "strange")}
    assert left == {"hers": ["i5"], "strange": ["i1"]}
    engine.dispose()


def test_a_waiting_merge_into_an_erased_user_is_erased(make_client: MakeClient, redis_url: str, database: str) -> None:
    client = make_client(RedisHistory.from_url(redis_url))
    engine = open_database(database)
    add_event(client, "i1", session_id="theirs")
    add_event(client, "i2", user_id="guest", session_id="theirs")
    drain(redis_url, EventsTable(engine), worker="w")
    ExposuresTable(engine).keep([Exposure("r1", "default", 5, "popular", ("i4",), user_id="guest")])
    client.post("/users/ann/merge", json={"user_id": "guest"})
    time.sleep(0.005)
    assert client.delete("/users/ann").json()["status"] == "done"
    drain(redis_url, EventsTable(engine), worker="w")
    assert [chunk for chunk in read_events(engine) if chunk] == []
    assert [chunk for chunk in read_exposures(engine) if chunk] == []
    assert entries_of(redis_url, Owner("theirs", kind="session")) == []
    engine.dispose()


def test_sessions_are_erased_from_the_cache(client: TestClient, database: str) -> None:
    engine = open_database(database)
    store_events(engine, [StreamedEvent("e1", "default", "i1", "click", 1.0, 5, 10, "ann", "hers")])
    engine.dispose()
    add_event(client, "i2", session_id="hers")
    time.sleep(0.005)
    assert client.delete("/users/ann").json()["history"] == 1
    assert client.post("/recommend", json={"session_id": "hers"}).json()["source"] == "popular"


def test_a_store_that_is_down_is_a_503_with_retry_after(make_client: MakeClient) -> None:
    class Away(MemoryHistory):
        async def entries(self, owner: Owner) -> Any:
            raise StoreError("away")

        async def forget(self, owner: Owner, until_ms: int | None = None) -> Any:
            raise StoreError("away")

    client = make_client(Away())
    for response in (client.get("/users/ann/history"), client.get("/users/ann"), client.delete("/users/ann")):
        assert response.status_code == 503
        assert response.headers["retry-after"] == "2"
    assert client.get("/users/ann/erasure").json()["status"] == "pending", "asked for, so it will be done"


@pytest.fixture(params=["memory", "redis"])
def backend(request: pytest.FixtureRequest) -> str | None:
    return str(request.getfixturevalue("redis_url")) if request.param == "redis" else None


def test_an_erasure_is_finished_after_the_database_returns(backend: str | None, tmp_path: Path) -> None:
    database = tmp_path / "later" / "retort.db"

    async def scenario() -> None:
        histories = RedisHistory.from_url(backend) if backend else MemoryHistory()
        erasures: ErasureStore = (
            RedisErasureStore(histories.client) if isinstance(histories, RedisHistory) else MemoryErasureStore()
        )
        user_data = UserDataService(histories, erasures, "postgresql://u:p@127.0.0.1:1/none")
        await histories.append([HistoryEvent(ANN, "i1", 1, "e1")])
        first = await user_data.erase(ANN, "r1")
        assert (first.status, first.history, first.profiles) == ("pending", 1, None)
        assert await erasures.pending() == [ANN]
        user_data = UserDataService(histories, erasures, f"sqlite:///{database}")
        await asyncio.to_thread(upgrade, f"sqlite:///{database}")
        await asyncio.to_thread(add_profile, f"sqlite:///{database}", "ann")
        await user_data.finish_pending()
        erasure = await erasures.read(ANN)
        assert isinstance(erasure, Erasure)
        assert (erasure.status, erasure.history, erasure.profiles) == ("done", 1, 1)
        assert await erasures.pending() == []
        user_data.close()
        await histories.close()

    asyncio.run(scenario())


def test_a_repeated_delete_keeps_later_data(client: TestClient, tmp_path: Path) -> None:
    upgrade(f"sqlite:///{(tmp_path / 'retort.db').absolute()}")
    add_event(client, "i1", user_id="ann")
    first = client.delete("/users/ann", headers={"x-request-id": "one"}).json()
    time.sleep(0.005)  # the next event is of a later millisecond
    add_event(client, "i2", user_id="ann")
    again = client.delete("/users/ann", headers={"x-request-id": "one"}).json()
    assert (again["requested_ms"], again["history"]) == (first["requested_ms"], 1)
    assert [event["item_id"] for event in client.get("/users/ann/history").json()["events"]] == ["i2"]
    assert client.delete("/users/ann", headers={"x-request-id": "two"}).json()["history"] == 1, "a new request is new"
    assert client.get("/users/ann/history").json()["events"] == []


def test_data_stored_during_a_pending_erasure_is_kept(backend: str | None, tmp_path: Path) -> None:
    now_s = 1.0

    async def scenario() -> None:
        nonlocal now_s
        histories = RedisHistory.from_url(backend) if backend else MemoryHistory()
        erasures: ErasureStore = (
            RedisErasureStore(histories.client) if isinstance(histories, RedisHistory) else MemoryErasureStore()
        )
        user_data = UserDataService(histories, erasures, "postgresql://u:p@127.0.0.1:1/none", lambda: now_s)
        events = [HistoryEvent(ANN, "i1", 1000, "e1"), HistoryEvent(ANN, "i2", 1000, "e2")]
        await histories.append(events)
        await user_data.erase(ANN, "r1")
        await histories.append([HistoryEvent(ANN, "i3", 1001, "e3")])
        now_s = 2.0
        await user_data.finish_pending()
        erasure = await user_data.erase(ANN, "r2")
        assert (erasure.status, erasure.requested_ms, erasure.history) == ("pending", 1000, 2)
        assert await histories.recent([ANN], 9) == [["i3"]]
        user_data.close()
        await histories.close()

    asyncio.run(scenario())


def test_an_unreadable_erasure_does_not_delay_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retort.serving.users.user_data.RETRY_INTERVAL_S", 0.001)

    class Torn(MemoryErasureStore):
        async def read(self, owner: Owner) -> Erasure | None:
            if owner == ANN:
                raise TypeError("written by another version")
            return await super().read(owner)

    async def scenario() -> None:
        erasures, bob = Torn(), Owner("bob")
        user_data = UserDataService(MemoryHistory(), erasures, "sqlite:///nowhere.db")
        for owner in (ANN, bob):
            await erasures.write(owner, Erasure("pending", 1, 0))
        trying = asyncio.create_task(user_data.run())
        async with asyncio.timeout(10):
            while (erasure := await erasures.read(bob)) is None or erasure.status != "done":
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.01)
        assert not trying.done(), "it goes on trying"
        trying.cancel()

    asyncio.run(scenario())


def test_a_merge_is_written_to_the_stream(make_client: MakeClient, redis_url: str, tmp_path: Path) -> None:
    client = make_client(RedisHistory.from_url(redis_url))
    for item_id, who in (("i1", {"user_id": "ann"}), ("i2", {"session_id": "s"}), ("i3", {"user_id": "guest"})):
        add_event(client, item_id, **who)
    time.sleep(0.005)
    for guest in ({"session_id": "s"}, {"user_id": "guest"}, {"user_id": "ann"}):
        client.post("/users/ann/merge", json=guest)
    time.sleep(0.005)
    add_event(client, "i4", session_id="s")
    database_url = f"sqlite:///{tmp_path / 'merged.db'}"
    upgrade(database_url)
    engine = open_database(database_url)
    for _ in range(2):  # a merge that is drained twice does no more
        drain(redis_url, EventsTable(engine), worker="w")
        rows = [row for chunk in read_events(engine) for row in chunk]
        assert [(row.user_id, row.item_id) for row in rows] == [
            ("ann", "i1"),
            ("ann", "i2"),
            ("ann", "i3"),
            (None, "i4"),
        ]
        client.post("/users/ann/merge", json={"user_id": "guest"})
    engine.dispose()


def test_similar_items_are_the_nearest(client: TestClient, bundle_path: Path) -> None:
    import numpy as np

    from retort.shared.model.bundle import open_bundle

    bundle = open_bundle(bundle_path)
    vectors = np.asarray(bundle.item_vectors)[1:]
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    nearest = [f"i{place + 1}" for place in np.argsort(-(units @ units[6]))]
    answer = client.get("/similar/i7", params={"k": 5, "exclude": [nearest[1]], "fields": ["title"]}).json()
    assert [item["item_id"] for item in answer["items"]] == nearest[2:7]
    assert answer["source"] == "similar_items"
    assert answer["items"][0]["fields"]["title"].startswith("Title")


@pytest.mark.parametrize(
    ("path", "status"), [("/similar/none", 404), ("/similar/i1?k=0", 422), ("/similar/i1?fields=colour", 422)]
)
def test_invalid_similar_requests_are_refused(client: TestClient, path: str, status: int) -> None:
    response = client.get(path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


def test_no_route_exceeds_the_servers_limit(make_client: MakeClient) -> None:
    client = make_client(max_k=5)
    for k, status in ((5, 200), (6, 422)):
        assert client.get("/similar/i1", params={"k": k}).status_code == status
        assert client.get("/recommend", params={"history": "i1", "k": k}).status_code == status
        body = {"inputs": [{"name": "history", "datatype": "BYTES", "shape": [1], "data": ["i1"]}]}
        assert client.post("/v2/models/tiny/infer", json=body | {"parameters": {"k": k}}).status_code == status


def test_errors_have_no_user_in_the_metrics(make_client: MakeClient) -> None:
    class Broken(MemoryHistory):
        async def entries(self, owner: Owner) -> list[Entry]:
            raise RuntimeError("a fault of ours")

    client = make_client(Broken())
    answer = client.get("/users/ann-the-first/history")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    told = client.get("/metrics").text
    assert "ann-the-first" not in told
    assert 'retort_requests_total{route="/users/{user_id:path}/history",status="500"} 1.0' in told


@pytest.mark.parametrize("field", ["user_id", "session_id", "item_id", "event_id", "impressions"])
@pytest.mark.parametrize("bad", ["\\u0000", "\\ud800", "\\n", "\\u0085", "\\u2028"])
def test_events_with_ids_that_cannot_be_stored_are_refused(client: TestClient, field: str, bad: str) -> None:
    event = {"user_id": "ann", "item_id": "i1", field: ["a?"] if field == "impressions" else "a?"}
    body = json.dumps(event).replace("a?", f"a{bad}").encode()
    assert client.post("/events", content=body, headers={"content-type": "application/json"}).status_code == 422


@pytest.mark.parametrize("field", ["user_id", "session_id", "item_id"])
@pytest.mark.parametrize(
    ("bad", "why"), [("1e+20", "lost digits"), ("9007199254740993.0", "lost digits"), (" ", "blank")]
)
def test_events_with_ids_that_training_refuses_are_refused(client: TestClient, field: str, bad: str, why: str) -> None:
    told = client.post("/events", json={"user_id": "ann", "item_id": "i1", field: bad})
    assert (told.status_code, why in told.json()["detail"]) == (422, True)


@pytest.mark.parametrize("field", ["user_id", "session_id", "item_id"])
@pytest.mark.parametrize("missing", ["null", "nan", "None", "<NA>", " nan"])
def test_events_with_the_text_of_a_missing_id_are_refused(client: TestClient, field: str, missing: str) -> None:
    told = client.post("/events", json={"user_id": "ann", "item_id": "i1", field: missing})
    assert told.status_code == 422
    assert f"{missing.strip()} is how programs write a missing value" in told.json()["detail"]
    assert client.get("/users/ann").json()["events"] == []


def test_a_user_is_erased_while_redis_is_full(make_client: MakeClient, redis_url: str, tmp_path: Path) -> None:
    upgrade(f"sqlite:///{tmp_path / 'retort.db'}")
    engine = open_database(f"sqlite:///{tmp_path / 'retort.db'}")
    store_events(engine, [StreamedEvent("e1", "default", "i1", "click", 1.0, 5, 10, "ann", "s1")])
    engine.dispose()
    client = make_client(RedisHistory.from_url(redis_url, timeout_s=5))
    add_event(client, "i7", user_id="ann", session_id="s1")
    with redis.Redis.from_url(redis_url) as admin:
        admin.config_set("maxmemory", 1)
        try:
            response = client.delete("/users/ann")
            assert response.status_code == 202, response.text
            assert response.json()["status"] == "done"
            assert client.delete("/users/stranger").status_code == 202
        finally:
            admin.config_set("maxmemory", 0)
        assert admin.exists("retort:h:{default:ann}") == 0
        assert admin.scard("retort:erasures") == 0
        assert admin.zrange("retort:erased-sessions", 0, -1) == [b"default\x1fs1"]


def test_a_guest_brings_no_event_from_before_the_users_erasure(make_client: MakeClient, redis_url: str) -> None:
    client = make_client(RedisHistory.from_url(redis_url, timeout_s=5))
    old = {"session_id": "s1", "item_id": "i7", "timestamp": "2026-01-01T00:00:00Z"}
    assert client.post("/events", json=old).json()["new"] == 1
    assert client.delete("/users/ann").status_code == 202
    time.sleep(0.002)
    assert client.post("/events", json={"session_id": "s1", "item_id": "i8"}).json()["new"] == 1
    assert client.post("/users/ann/merge", json={"session_id": "s1"}).json()["moved"] == 1
    assert [entry["item_id"] for entry in client.get("/users/ann").json()["events"]] == ["i8"]


def test_an_erased_event_that_is_sent_again_does_not_come_back(
    make_client: MakeClient, redis_url: str, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'retort.db'}"
    upgrade(url)
    client = make_client(RedisHistory.from_url(redis_url, timeout_s=5))
    event = {"event_id": "e1", "user_id": "ann", "item_id": "i7", "timestamp": "2026-01-01T00:00:00Z"}
    for what in (event, {**event, "user_id": "bob"}):
        assert client.post("/events", json=what).json()["new"] == 1
    erased_ms = client.delete("/users/ann").json()["requested_ms"]
    time.sleep(0.002)
    later = {**event, "event_id": "e9", "timestamp": None}
    for what in (event, {**event, "event_id": "e2"}, {**event, "timestamp": (erased_ms - 5) / 1000}):
        answer = client.post("/events", json=[what, {**what, "user_id": "cat"}]).json()
        assert answer["accepted"] == 2
    assert client.post("/events", json=[later]).json()["new"] == 1
    assert load_histories(redis_url, [("ann", [("i8", 5), ("i9", erased_ms + 60_000)]), ("bob", [("i8", 5)])]) == 2

    def items(user: str) -> list[str]:
        return [entry["item_id"] for entry in client.get(f"/users/{user}").json()["events"]]

    assert (items("ann"), items("bob")) == (["i7", "i9"], ["i8", "i7"])
    engine = open_database(url)
    drain(redis_url, EventsTable(engine), worker="w")
    stored = [row for rows in read_events(engine) for row in rows]
    engine.dispose()
    assert [row.event_id for row in stored if row.user_id == "ann"] == ["e9"]
    assert {row.user_id for row in stored} == {"ann", "bob", "cat"}


def test_without_redis_an_erased_event_does_not_come_back_either(client: TestClient) -> None:
    event = {"event_id": "e1", "user_id": "ann", "item_id": "i7", "timestamp": "2026-01-01T00:00:00Z"}
    assert client.post("/events", json=event).json()["new"] == 1
    client.delete("/users/ann")
    assert client.post("/events", json=[event, {**event, "user_id": "bob"}]).json()["new"] == 1
    assert client.get("/users/ann").json()["events"] == []


def test_an_event_id_counts_once_for_its_owner(client: TestClient) -> None:
    order = [{"event_id": "order-1", "user_id": "ann", "item_id": item} for item in ("i1", "i2", "i1")]
    answer = client.post("/events", json=order).json()
    assert (answer["accepted"], answer["new"]) == (3, 1)
    [hint] = answer["hints"]
    assert "Give each event an id of its own" in hint["why"]
    again = client.post("/events", json={**order[1], "event_type": "purchase"}).json()
    assert (again["new"], len(again["hints"])) == (0, 1)
    assert "hints" not in client.post("/events", json=order[0]).json(), "the same event, sent again"
    for other in ({"user_id": "bob"}, {"user_id": None, "session_id": "ann"}):
        assert client.post("/events", json={**order[1], **other}).json()["new"] == 1
    assert [entry["item_id"] for entry in client.get("/users/ann").json()["events"]] == ["i1"]


def test_a_key_of_another_type_refuses_the_events_of_its_owner_alone(make_client: MakeClient, redis_url: str) -> None:
    client = make_client(RedisHistory.from_url(redis_url, timeout_s=5))
    batch = [{"event_id": f"e-{user}", "user_id": user, "item_id": "i1"} for user in ("ann", "cat", "bob", "dan")]
    batch[3]["timestamp"] = "2026-01-01T00:00:00Z"
    with redis.Redis.from_url(redis_url) as other:
        other.set(Owner("cat").key, "of another program")
        other.lpush(keys.erasure("default", "dan"), "of another program")
    answer = client.post("/events", json=batch)
    assert (answer.status_code, answer.json()["accepted"], answer.json()["new"]) == (202, 2, 2)
    assert [error["where"] for error in answer.json()["errors"]] == ["1", "3"]
    assert client.post("/events", json=batch[1]).status_code == 503
    assert client.post("/recommend", json={"user_id": "bob"}).json()["source"] == "student"
    assert client.post("/recommend", json={"user_id": "cat"}).json()["fallback_reason"] == "history_unavailable"


def test_events_of_unknown_items_are_accepted_with_a_hint(make_client: MakeClient, client: TestClient) -> None:
    events = [{"user_id": "ann", "item_id": item} for item in ("i1", "new-item", "i2", "I3")]
    answer = client.post("/events", json=events).json()
    assert (answer["accepted"], answer["new"]) == (4, 4)
    assert [hint["where"] for hint in answer["hints"]] == ["1.item_id", "3.item_id"]
    assert "does not know this item" in answer["hints"][0]["why"]
    assert "hints" not in client.post("/events", json=events[0]).json()
    many = [{"user_id": "ann", "item_id": f"new-{number}"} for number in range(50)]
    assert len(client.post("/events", json=many).json()["hints"]) == 10
    assert "hints" not in make_client(bundle=None).post("/events", json=events[1]).json(), "nothing is known"
