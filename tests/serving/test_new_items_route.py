"""POST /items: new items are queued for a worker, once, by an administrator."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from retort.serving.api.auth import Scope, create_key
from retort.shared.db.migrate import upgrade
from retort.shared.db.models import RefreshJob
from retort.shared.db.session import open_database, reading
from retort.shared.profiles.new_items import NewItems
from tests.serving.api.test_auth import write
from tests.serving.conftest import MakeClient

NEW = {"item_id": "n1", "title": "Night train", "attributes": {"genre": "drama", "year": 2027, "tags": ["t1"]}}


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    url = f"sqlite:///{tmp_path / 'retort.db'}"  # where the settings of make_client look
    upgrade(url)
    return open_database(url)


def test_new_items_become_a_refresh_that_is_sent_once(client: TestClient, engine: Engine) -> None:
    told = client.post("/items", json={"items": [NEW], "share": 0.2})
    assert told.status_code == 202
    document = told.json()
    assert (document["name"], document["status"], document["users"], document["result"]) == (
        "new items", "pending", 1, None,
    )  # fmt: skip
    again = client.post("/items", json={"share": 0.2, "items": [{**NEW, "knowledge": None}]})
    assert (again.status_code, again.json()["id"]) == (202, document["id"])
    assert [one["id"] for one in client.get("/refreshes").json()["refreshes"]] == [document["id"]]
    with reading(engine) as session:
        kept = NewItems.from_spec(session.get_one(RefreshJob, document["id"]).spec)
    assert kept is not None
    assert kept.items == [NEW]
    assert client.post(f"/refreshes/{document['id']}/cancel").json()["status"] == "cancelled"


def test_an_integer_over_64_bits_is_a_number(client: TestClient, engine: Engine) -> None:
    body = {"items": [{**NEW, "attributes": {"year": 10**30}}]}
    assert client.post("/items", json=body).status_code == 202


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"items": [{**NEW, "attributes": {"genres": "drama"}}]}, "unknown attribute; did you mean genre?"),
        ({"items": [{**NEW, "attributes": {"zzz": 1}}]}, "unknown attribute; the attributes are genre, tags, year"),
        ({"items": [{"id": "n1", "title": "x"}]}, "items.0.id: unknown field; did you mean item_id?"),
        ({"items": [{**NEW, "name": "x"}]}, "items.0.name: unknown field"),
        ({"items": [NEW, NEW]}, "items.0.item_id: another item of the request has this id"),
        ({"items": []}, "items"),
        ({"items": [{**NEW, "item_id": f"n{n}"} for n in range(1001)]}, "items"),
        ({"items": [{**NEW, "title": "x" * 2001}]}, "items.0.title"),
        ({"items": [{**NEW, "attributes": {f"a{n}": 1 for n in range(51)}}]}, "items.0.attributes"),
        ({"products": [NEW]}, "products: unknown field"),
        ({"items": [{**NEW, "title": "a\x00b"}]}, "items.0.title"),
        ({"items": [{**NEW, "title": "  "}]}, "items.0.title: must hold a visible character and no NUL."),
        ({"items": [{**NEW, "attributes": {"genre": {"a": 1}}}]}, "items.0.attributes.genre: must be text of at most"),
        ({"items": [{**NEW, "knowledge": "\x00"}]}, "items.0.knowledge"),
        ({"items": [{**NEW, "attributes": {"tags": ["a\x00"]}}]}, "items.0.attributes"),
        ({"items": [{**NEW, "item_id": "nan"}]}, "items.0.item_id: nan is how programs write a missing value"),
    ],
)  # fmt: skip
def test_what_cannot_be_added_is_refused_with_a_remedy(
    client: TestClient, engine: Engine, body: dict[str, Any], words: str
) -> None:
    told = client.post("/items", json=body)
    assert told.status_code == 422
    assert words in told.json()["detail"]
    assert client.get("/refreshes").json()["refreshes"] == []


def test_only_an_administrator_adds_items(make_client: MakeClient, engine: Engine, tmp_path: Path) -> None:
    read, read_entry = create_key("reader", frozenset({Scope.READ, Scope.WRITE}))
    admin, admin_entry = create_key("boss", frozenset({Scope.ADMIN}))
    write(tmp_path / "keys.json", [read_entry, admin_entry])
    client = make_client(keys_file=tmp_path / "keys.json")
    bodies = {"json": {"items": [NEW]}}
    assert client.post("/items", **bodies).status_code == 401
    assert client.post("/items", headers={"x-api-key": read}, **bodies).status_code == 403
    assert client.post("/items", headers={"x-api-key": admin}, **bodies).status_code == 202


def test_without_a_database_it_says_so(client: TestClient) -> None:
    told = client.post("/items", json={"items": [NEW]})
    assert told.status_code == 503
    assert "database" in told.json()["detail"]


def test_a_large_body_is_refused(client: TestClient, engine: Engine) -> None:
    items = [{"item_id": f"n{n}", "title": "x" * 1500} for n in range(800)]
    assert client.post("/items", json={"items": items}).status_code == 413
