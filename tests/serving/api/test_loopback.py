"""A server without keys obeys no web page: foreign hosts and cross-site requests are refused."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from retort.serving.api.app import create_app
from retort.serving.main import add_key, wrap
from retort.serving.runtime.settings import ServingSettings
from retort.shared.base.settings import Settings
from retort.shared.history.store import MemoryHistory

EVENT = {"user_id": "ann", "item_id": "i1"}


def make(bundle: Path, home: Path, **serving: object) -> TestClient:
    values = ServingSettings(_env_file=None, bundle=bundle, **serving)
    app = create_app(Settings(_env_file=None, retort_home=home, redis_url=None), values, histories=MemoryHistory())
    return TestClient(wrap(app, values), base_url="http://127.0.0.1:8000")


@pytest.fixture
def keyless(bundle_path: Path, tmp_path: Path) -> TestClient:
    return make(bundle_path, tmp_path)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "0.0.0.0", "10.0.0.1",
     "user@127.0.0.1", "", "api", "[::2]:8000", "127.0.0.1/", "127.0.0.1,evil.example", "2130706433",
     "127.0.0.1#evil.example", "localhost:evil"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/recommend?user_id=ann", "/models", "/metrics", "/console", "/users/ann", "/none"])
def test_a_foreign_host_is_refused(keyless: TestClient, host: str, path: str) -> None:
    response = keyless.get(path, headers={"host": host})
    assert response.status_code == 421
    assert "RETORT_KEYS_FILE" in response.json()["detail"]
    assert response.headers["x-request-id"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost:9", "LOCALHOST", "127.8.9.1", "[::1]:8000"])
def test_loopback_hosts_are_answered(keyless: TestClient, host: str) -> None:
    assert keyless.get("/models", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1.evil.example"},
        {"origin": "http://evil.example:8000"},
        {"origin": "chrome-extension://abc"},
        {"origin": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "Cross-Site", "origin": "http://localhost:3000"},
        {"referer": "https://evil.example/page?of=127.0.0.1"},  # all that older browsers send with a form or an image
        {"referer": "//evil.example"},
        {"referer": "https://localhost@evil.example/"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/events"),
        ("POST", "/recommend"),
        ("GET", "/recommend?user_id=ann"),
        ("DELETE", "/users/ann"),
        ("PUT", "/users/ann/profile"),
        ("PUT", "/items/i1/knowledge"),
        ("POST", "/refreshes"),
        ("POST", "/v2/models/tiny/infer"),
    ],
)
def test_a_cross_site_request_changes_nothing(
    keyless: TestClient, headers: dict[str, str], method: str, path: str
) -> None:
    response = keyless.request(method, path, headers=headers, json=EVENT if method == "POST" else None)
    assert response.status_code == 403
    assert "no API keys" in response.json()["detail"]
    assert keyless.get("/users/ann/history").json()["events"] == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://127.0.0.1:8000"},
        {"sec-fetch-site": "same-origin"},
        {"referer": "http://localhost:8000/console#try?user=a@b"},
        {"referer": ""},
    ],
)
def test_programs_and_the_console_are_answered(keyless: TestClient, headers: dict[str, str]) -> None:
    assert keyless.post("/events", json=EVENT, headers=headers).status_code == 202


def test_a_page_may_link_to_the_console(keyless: TestClient) -> None:
    headers = {"sec-fetch-site": "cross-site", "referer": "https://wiki.example/retort"}
    assert keyless.get("/console", headers=headers).status_code == 200


def test_a_container_answers_its_network_and_its_probes(bundle_path: Path, tmp_path: Path) -> None:
    client = make(bundle_path, tmp_path, host="0.0.0.0", reached_at="127.0.0.1")
    assert client.get("/models", headers={"host": "api:8000"}).status_code == 200
    assert client.get("/metrics", headers={"host": "172.18.0.4:8000"}).status_code == 200
    assert client.get("/models", headers={"host": "evil.example"}).status_code == 421
    assert client.post("/events", json=EVENT, headers={"origin": "https://evil.example"}).status_code == 403


def test_keys_protect_a_server_that_has_them(bundle_path: Path, tmp_path: Path) -> None:
    key = add_key(tmp_path / "keys.json", "app", ["read", "write"], "default")
    client = make(bundle_path, tmp_path, keys_file=tmp_path / "keys.json")
    headers = {"host": "api.example.org", "origin": "https://shop.example.org"}
    assert client.post("/events", json=EVENT, headers=headers).status_code == 401
    assert client.post("/events", json=EVENT, headers={**headers, "x-api-key": key}).status_code == 202
    assert client.get("/health/live", headers=headers).status_code == 200
