"""Authentication: keys, scopes and tenants of every route."""

from itertools import product
from pathlib import Path

import orjson
import pytest

from retort.serving.api.auth import Authenticator, KeyEntry, Scope, create_key, read_keys
from retort.serving.schemas.problems import Problem
from retort.shared.base.errors import RetortError
from tests.serving.conftest import MakeClient

ROUTES = {
    ("POST", "/recommend"): "read",
    ("GET", "/recommend"): "read",
    ("POST", "/recommend/batch"): "read",
    ("GET", "/similar/i1"): "read",
    ("GET", "/models"): "read",
    ("GET", "/users/ann/history"): "read",
    ("POST", "/events"): "write",
    ("POST", "/users/ann/merge"): "write",
    ("GET", "/users/ann"): "admin",
    ("GET", "/users/ann/erasure"): "admin",
    ("DELETE", "/users/ann"): "admin",
    ("GET", "/users"): "admin",
    ("GET", "/items"): "read",
    ("GET", "/items/i1"): "read",
    ("GET", "/facets"): "read",
    ("GET", "/map"): "read",
    ("GET", "/map/colours"): "read",
    ("GET", "/map/items"): "read",
    ("GET", "/map/users"): "admin",
    ("GET", "/experiments"): "admin",
    ("GET", "/experiments/offline"): "admin",
    ("GET", "/models/versions"): "admin",
    ("GET", "/models/comparison"): "admin",
    ("POST", "/models/aliases/champion/promotion"): "admin",
    ("POST", "/models/aliases/champion/rollback"): "admin",
    ("POST", "/items"): "admin",
    ("GET", "/items/i1/knowledge"): "admin",
    ("PUT", "/items/i1/knowledge"): "admin",
    ("DELETE", "/items/i1/knowledge"): "admin",
    ("DELETE", "/items/i1/knowledge/correction"): "admin",
    ("GET", "/users/ann/profile"): "admin",
    ("PUT", "/users/ann/profile"): "admin",
    ("DELETE", "/users/ann/profile"): "admin",
    ("DELETE", "/users/ann/profile/choice"): "admin",
    ("POST", "/users/ann/profile/pin"): "admin",
    ("GET", "/refreshes"): "admin",
    ("POST", "/refreshes"): "admin",
    ("GET", "/refreshes/r1"): "admin",
    ("POST", "/refreshes/r1/cancel"): "admin",
}
OPEN = {"/health/live", "/health/ready", "/metrics", "/v2"}


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    """One key for each scope, one of another tenant; as written to keys.json."""
    made = {scope.value: create_key(scope.value, frozenset({scope})) for scope in Scope}
    made["other"] = create_key("other", frozenset(Scope), "other")
    write(tmp_path / "keys.json", [entry for _, entry in made.values()])
    return {name: key for name, (key, _) in made.items()}


def write(path: Path, entries: list[KeyEntry]) -> None:
    path.write_bytes(orjson.dumps([entry.model_dump(mode="json") for entry in entries]))


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_every_route_requires_its_scope(
    make_client: MakeClient, keys: dict[str, str], tmp_path: Path, route: tuple[str, str]
) -> None:
    client = make_client(keys_file=tmp_path / "keys.json", tenants=("default", "other"))
    assert client.request(*route, json={}).status_code == 401
    assert client.request(*route, json={}, headers={"authorization": "Bearer wrong"}).status_code == 401
    for scope, header in product(("read", "write", "admin"), ("authorization", "x-api-key")):
        value = keys[scope] if header == "x-api-key" else f"Bearer {keys[scope]}"
        status = client.request(*route, json={}, headers={header: value}).status_code
        assert (status != 403) == (scope == ROUTES[route]), (scope, status)
        assert status != 401


@pytest.mark.parametrize("path", ["/users/ann/merge", "/v2/models/tiny/infer", "/recommend", "/events", "/refreshes"])
def test_the_key_is_checked_before_the_body(
    make_client: MakeClient, keys: dict[str, str], tmp_path: Path, path: str
) -> None:
    client = make_client(keys_file=tmp_path / "keys.json")
    client.headers["content-type"] = "application/json"
    for headers in ({}, {"x-api-key": "wrong"}):
        refused = client.post(path, content=b"{no json", headers=headers)
        assert refused.status_code == 401
        assert refused.headers["content-type"] == "application/problem+json"
    scopes = {"/users/ann/merge": "write", "/events": "write", "/refreshes": "admin"}
    with_key = {"x-api-key": keys[scopes.get(path, "read")]}
    assert client.post(path, content=b"{no json", headers=with_key).status_code == 422


def test_no_route_is_left_out(make_client: MakeClient) -> None:
    paths = make_client().get("/openapi.json").json()["paths"]
    documented = {
        (method.upper(), path.format(user_id="ann", item_id="i1", refresh_id="r1", alias="champion"))
        for path, methods in paths.items()
        for method in methods
        if path not in OPEN and not path.startswith("/v2/")
    }
    assert documented == set(ROUTES)


def test_tenants_are_isolated(make_client: MakeClient, keys: dict[str, str], tmp_path: Path) -> None:
    client = make_client(keys_file=tmp_path / "keys.json", tenants=("default", "other"))
    write_key, other = {"x-api-key": keys["write"]}, {"x-api-key": keys["other"]}
    client.post("/events", json={"user_id": "ann", "item_id": "i1"}, headers=write_key)
    assert client.get("/users/ann", headers=other).json()["events"] == []
    assert client.post("/recommend", json={"user_id": "ann"}, headers=other).json()["source"] == "popular"
    assert client.delete("/users/ann", headers=other).json()["history"] == 0
    assert len(client.get("/users/ann/history", headers={"x-api-key": keys["read"]}).json()["events"]) == 1
    assert {model["tenant"] for model in client.get("/models", headers=other).json()["models"]} == {"other"}


def test_no_key_is_logged_or_returned(
    make_client: MakeClient, keys: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    client = make_client(keys_file=tmp_path / "keys.json")
    headers = {"authorization": f"Bearer {keys['read']}"}
    texts = [client.post("/events", json={}, headers=headers).text, client.get("/metrics").text]
    assert keys["read"] not in "".join(texts) + "".join(str(vars(record)) for record in caplog.records)
    assert keys["read"] not in (tmp_path / "keys.json").read_text()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"[]", "holds no key"),
        (b"{", "is invalid"),
        (b'[{"name": "a", "sha256": "x", "scopes": ["read"]}]', "sha256"),
        (b'[{"name": "a", "sha256": "' + b"0" * 64 + b'", "scopes": ["root"]}]', "scopes"),
        (
            b"[" + b",".join([b'{"name": "a", "sha256": "' + b"0" * 64 + b'", "scopes": ["read"]}'] * 2) + b"]",
            "same name",
        ),
    ],
)
def test_an_invalid_key_file_is_reported(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "keys.json").write_bytes(content)
    with pytest.raises(RetortError, match=sentence):
        read_keys(tmp_path / "keys.json")


def test_without_keys_every_scope_is_granted() -> None:
    assert Authenticator().is_open
    assert Authenticator().require_scope({}, Scope.ADMIN).tenant == "default"
    with pytest.raises(Problem):
        Authenticator((create_key("a", frozenset({Scope.READ}))[1],)).require_scope({}, Scope.READ)
