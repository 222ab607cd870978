"""Each JSON log line of a request has its id, also from code that does not know the request."""

from pathlib import Path
from typing import Any

import httpx
import orjson

from tests.serving._process import serving_process


def test_every_log_line_of_a_request_has_its_id(bundle_path: Path, tmp_path: Path) -> None:
    environment: dict[str, Any] = {"retort_bundle": bundle_path, "log_json": "true", "redis_url": "redis://127.0.0.1:1"}
    with serving_process(tmp_path, **environment) as server:
        server.ready()
        answer = httpx.post(f"{server.url}/recommend", json={"user_id": "u-ann"}, headers={"x-request-id": "mine"})
        assert answer.json()["source"] == "popular"
        event = {"user_id": "u-ann", "item_id": "i1", "event_id": "seen-by-u-ann"}
        lost = httpx.post(f"{server.url}/events", json=[event], headers={"x-request-id": "told"})
        assert lost.status_code == 503
        httpx.delete(f"{server.url}/users/u-ann", headers={"x-request-id": "erase-1"})
    lines = [orjson.loads(line) for line in (tmp_path / "server.log").read_text().splitlines() if line[:1] == "{"]
    (degraded,) = [line for line in lines if line["message"] == "degraded answer"]
    assert (degraded["request_id"], degraded["reason"]) == ("mine", "history_unavailable")
    (refused,) = [line for line in lines if line["message"] == "events were not stored"]
    assert (refused["request_id"], refused["count"]) == ("told", 1)
    assert "could not be added to the stream" in refused["reason"]
    assert not any("u-ann" in str(line) for line in lines), "no log names a user"
