"""Item knowledge over HTTP: shown with items, corrected, forbidden and released."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from retort.serving.api.auth import Scope, create_key
from retort.shared.db.migrate import upgrade
from retort.shared.db.models import DONE, ItemKnowledge
from retort.shared.db.session import open_database, transaction
from retort.shared.knowledge.item_knowledge import find_corrections
from tests.serving._graphs import make_bundle
from tests.serving.api.test_auth import write
from tests.serving.conftest import MakeClient

TEXTS = {"i1": "Shampoo, dry hair, argan oil", "i2": "hair mask, dry hair, Argan oil", "i7": "nail lacquer"}
FIELDS = ["knowledge", "knowledge_source", "knowledge_at"]


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'retort.db'}"  # where the settings of make_client look
    upgrade(url)
    return url


@pytest.fixture
def knowing(make_client: MakeClient, tmp_path: Path) -> Callable[..., TestClient]:
    bundle = make_bundle(tmp_path / "bundles", knowledge=TEXTS)
    return lambda **settings: make_client(bundle=bundle, follow_every_s=0.05, **settings)


def shown(client: TestClient, item_id: str) -> dict[str, Any]:
    body = {"history": [], "candidates": [item_id], "fields": FIELDS, "dry_run": True}
    fields: dict[str, Any] = client.post("/recommend", json=body).json()["items"][0]["fields"]
    return fields


def test_the_text_is_shown_with_its_source_and_date(knowing: Callable[..., TestClient]) -> None:
    client = knowing()
    text = {"knowledge": TEXTS["i2"], "knowledge_source": "llm-1", "knowledge_at": "2026-11-01T00:00:00+00:00"}
    assert shown(client, "i2") == text
    assert shown(client, "i3") == dict.fromkeys(FIELDS)
    similar = client.get("/similar/i1", params={"k": 59, "fields": FIELDS}).json()["items"]
    assert {item["item_id"]: item["fields"] for item in similar}["i2"] == text
    assert set(FIELDS) <= set(client.get("/models").json()["models"][0]["fields"])


def test_reasons_name_what_both_items_are_known_for(knowing: Callable[..., TestClient]) -> None:
    body = {"history": ["i1"], "candidates": ["i2", "i3", "i7"], "k": 3, "explain": True}
    reasons = {item["item_id"]: item["reason"] for item in knowing().post("/recommend", json=body).json()["items"]}
    for item_id, reason in reasons.items():
        expected = ["dry hair", "argan oil"] if item_id == "i2" and reason["because"] else None
        assert reason.get("shared") == expected


def test_a_correction_is_shown_at_once_and_stored_for_the_next_bundle(
    knowing: Callable[..., TestClient], database_url: str
) -> None:
    client = knowing()
    with transaction(engine := open_database(database_url)) as session:
        stored = {"content_hash": "c", "prompt_version": "p", "model": "llm-1", "status": DONE}
        session.add(ItemKnowledge(item_id="i1", text=TEXTS["i1"], fields={"type": "shampoo"}, **stored))
    before = client.get("/items/i1/knowledge").json()
    assert (before["text"], before["correction"], before["bundle"]["source"]) == (TEXTS["i1"], None, "llm-1")
    assert before["versions"][0]["fields"] == {"type": "shampoo"}

    corrected = client.put("/items/i1/knowledge", json={"text": " solid   shampoo bar "})
    assert (corrected.status_code, corrected.json()["text"]) == (200, "solid shampoo bar")
    assert corrected.json()["correction"] == "corrected"
    assert find_corrections(engine, ["i1"])["i1"].text == "solid shampoo bar"
    client.app.services.corrections.check()  # type: ignore[attr-defined]
    assert shown(client, "i1")["knowledge"] == "solid shampoo bar"
    assert shown(client, "i1")["knowledge_source"] == "correction"

    assert client.delete("/items/i1/knowledge").json()["correction"] == "forbidden"
    client.app.services.corrections.check()  # type: ignore[attr-defined]
    assert shown(client, "i1") == dict.fromkeys(FIELDS)
    released = client.delete("/items/i1/knowledge/correction").json()
    assert (released["text"], released["correction"]) == (TEXTS["i1"], None)
    client.app.services.corrections.check()  # type: ignore[attr-defined]
    assert shown(client, "i1")["knowledge"] == TEXTS["i1"]
    engine.dispose()


def test_items_that_no_bundle_has_and_ids_with_slashes_are_corrected_too(
    knowing: Callable[..., TestClient], database_url: str
) -> None:
    client = knowing()
    for path, item_id in (("new", "new"), ("a%2Fknowledge", "a/knowledge"), ("a/b", "a/b")):
        answer = client.put(f"/items/{path}/knowledge", json={"text": "a text"}).json()
        assert (answer["text"], answer["bundle"]) == ("a text", None)
        engine = open_database(database_url)
        assert set(find_corrections(engine, [item_id])) == {item_id}
        engine.dispose()
    assert client.put("/items/new/knowledge", json={"text": "  "}).status_code == 422
    assert client.put("/items/new/knowledge", json={"text": "x" * 2001}).status_code == 422
    assert "did you mean text?" in client.put("/items/new/knowledge", json={"txt": "x"}).json()["detail"]


def test_without_a_database_or_an_admin_key_nothing_is_corrected(
    knowing: Callable[..., TestClient], tmp_path: Path
) -> None:
    assert knowing().put("/items/i1/knowledge", json={"text": "x"}).status_code == 503
    key, entry = create_key("shop", frozenset({Scope.READ, Scope.WRITE}))
    write(tmp_path / "keys.json", [entry])
    client = knowing(keys_file=tmp_path / "keys.json")
    headers = {"authorization": f"Bearer {key}"}
    assert client.put("/items/i1/knowledge", json={"text": "x"}).status_code == 401
    assert client.put("/items/i1/knowledge", json={"text": "x"}, headers=headers).status_code == 403


def test_tenants_have_corrections_of_their_own(
    knowing: Callable[..., TestClient], database_url: str, tmp_path: Path
) -> None:
    keys = {tenant: create_key(tenant, frozenset(Scope), tenant) for tenant in ("default", "other")}
    write(tmp_path / "keys.json", [entry for _, entry in keys.values()])
    client = knowing(keys_file=tmp_path / "keys.json", tenants=["default", "other"])
    headers = {tenant: {"authorization": f"Bearer {key}"} for tenant, (key, _) in keys.items()}
    client.put("/items/i1/knowledge", json={"text": "theirs"}, headers=headers["other"])
    assert client.get("/items/i1/knowledge", headers=headers["default"]).json()["correction"] is None
    assert client.get("/items/i1/knowledge", headers=headers["other"]).json()["set_by"] == "other"
    client.app.services.corrections.check()  # type: ignore[attr-defined]
    body = {"history": [], "candidates": ["i1"], "fields": ["knowledge"], "dry_run": True}
    items = client.post("/recommend", json=body, headers=headers["default"]).json()["items"]
    assert items[0]["fields"]["knowledge"] == TEXTS["i1"], "a shared bundle shows no tenant's corrections"
