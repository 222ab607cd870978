"""`/items`, `/facets` and `/users`: what people choose from, within bounds, and never recorded as shown."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from retort.serving.api.auth import Scope, create_key
from retort.serving.users.user_sample import KEPT_S, UserSample
from retort.shared.history.store import HistoryEvent, MemoryHistory, Owner
from tests.serving.api.test_auth import write
from tests.serving.conftest import MakeClient


def test_items_are_found_by_title_or_id_most_popular_first(client: TestClient) -> None:
    found = client.get("/items", params={"query": "tit 1", "limit": 3}).json()["items"]
    assert [item["item_id"] for item in found] == ["i1", "i10", "i11"]
    assert found[0] == {"item_id": "i1", "title": "Title 1", "popularity": 590, "point": 0}
    assert [item["item_id"] for item in client.get("/items", params={"query": "i3"}).json()["items"]][:2] == [
        "i3",
        "i30",
    ]
    assert [item["item_id"] for item in client.get("/items", params={"query": "i60"}).json()["items"]] == ["i60"]
    assert len(client.get("/items").json()["items"]) == 10


def test_the_whole_id_comes_first_though_others_are_more_popular(client: TestClient) -> None:
    found = [item["item_id"] for item in client.get("/items", params={"query": "i4", "limit": 2}).json()["items"]]
    assert found == ["i4", "i40"]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", f"query={'a' * 201}"])
def test_a_search_is_bounded(client: TestClient, query: str) -> None:
    assert client.get(f"/items?{query}").status_code == 422


def test_one_item_has_its_fields_and_its_rank(client: TestClient) -> None:
    item = client.get("/items/i7").json()
    assert (item["item_id"], item["popularity"], item["popularity_rank"], item["n_items"]) == ("i7", 530, 7, 60)
    assert item["fields"]["genre"] in ("drama", "comedy", "horror")
    assert item["fields"]["tags"] is None
    assert client.get("/items/nope").status_code == 404


def test_facets_are_filters(client: TestClient) -> None:
    facets = {facet["name"]: facet for facet in client.get("/facets").json()["facets"]}
    value = facets["genre"]["values"][0]["value"]
    answer = client.post(
        "/recommend", json={"history": [], "filter": {"genre": value}, "fields": ["genre"], "dry_run": True}
    )
    assert {item["fields"]["genre"] for item in answer.json()["items"]} == {value}


def test_users_are_listed_by_the_start_of_the_id(client: TestClient) -> None:
    for user_id in ("ann", "anton", "bob"):
        client.post("/events", json={"user_id": user_id, "item_id": "i1"})
    assert client.get("/users", params={"start": "an"}).json()["user_ids"] == ["ann", "anton"]
    answer = client.get("/users", params={"limit": 2}).json()
    assert (answer["user_ids"], answer["known"], answer["is_complete"]) == (["ann", "anton"], 3, True)
    client.delete("/users/ann")
    assert client.get("/users", params={"start": "an"}).json()["user_ids"] == ["anton"]


def test_the_list_of_users_requires_the_admin_scope(make_client: MakeClient, tmp_path: Path) -> None:
    key, entry = create_key("shop", frozenset({Scope.READ}))
    write(tmp_path / "keys.json", [entry])
    client = make_client(keys_file=tmp_path / "keys.json")
    sent = {"authorization": f"Bearer {key}"}
    for path in ("/items", "/items/i1", "/facets", "/users"):
        assert client.get(path).status_code == 401, path
        assert client.get(path, headers=sent).status_code == (403 if path == "/users" else 200), path


def test_looking_at_similar_items_or_a_model_is_not_recorded(client: TestClient) -> None:
    client.get("/similar/i1", params={"dry_run": True})
    body = {"inputs": [{"name": "history", "datatype": "BYTES", "shape": [1], "data": ["i1"]}]}
    client.post("/v2/models/tiny/infer", json=body | {"parameters": {"dry_run": True}})
    assert "retort_exposures_total{" not in client.get("/metrics").text
    client.get("/similar/i1")
    client.post("/v2/models/tiny/infer", json=body)
    assert client.get("/metrics").text.count("retort_exposures_total{") == 2


class FewAtOnce(MemoryHistory):
    """A store whose sample is cut off."""

    reads = 0

    async def user_ids(self, tenant: str, limit: int, timeout_s: float) -> tuple[list[str], bool]:
        self.reads += 1
        return (await super().user_ids(tenant, 1, timeout_s))[0], False


def test_a_user_outside_the_sample_is_found_by_the_whole_id() -> None:
    async def scenario() -> tuple[Sequence[str], Sequence[str], int]:
        now = [0.0]
        store = FewAtOnce()
        await store.append([HistoryEvent(Owner(name), "i1", 1, name) for name in ("ann", "bob")])
        sample = UserSample(store, lambda: now[0])
        whole, start = await sample.find("default", "bob", 5), await sample.find("default", "b", 5)
        assert not (await sample.find("default", "nobody", 5)).user_ids
        now[0] = KEPT_S + 1
        await sample.find("default", "", 5)
        return whole.user_ids, start.user_ids, store.reads

    assert asyncio.run(scenario()) == (["bob"], ["bob"], 2)
