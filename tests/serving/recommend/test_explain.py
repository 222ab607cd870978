"""Explanations list the themes of the user's profile that an item has, read in the round trip of the history."""

from starlette.testclient import TestClient

from retort.shared.history.redis_history import RedisHistory
from retort.shared.history.themes import Theme, write_themes
from tests.serving.conftest import MakeClient


def value(client: TestClient, line: str) -> float:
    (found,) = [row for row in client.get("/metrics").text.splitlines() if row.startswith(f"{line} ")]
    return float(found.rpartition(" ")[2])


def test_themes_are_listed_for_items_that_have_them(make_client: MakeClient, redis_url: str) -> None:
    themes = [Theme("tags", "t1"), Theme("genre", "drama"), Theme("colour", "red")]
    write_themes(redis_url, [("ann", themes)], ttl_s=60)
    client = make_client(RedisHistory.from_url(redis_url, timeout_s=30), history_timeout_s=30, deadline_s=60)
    client.post("/events", json={"user_id": "ann", "item_id": "i7"})
    asked = {"user_id": "ann", "k": 30, "fields": ["genre", "tags"]}
    before = value(client, 'retort_batch_size_count{stage="history"}')
    answer = client.post("/recommend", json={**asked, "explain": True}).json()
    assert value(client, 'retort_batch_size_count{stage="history"}') == before + 1, "one trip for history and themes"
    for item in answer["items"]:
        carried = ["t1"] if "t1" in (item["fields"]["tags"] or []) else []
        carried += ["drama"] if item["fields"]["genre"] == "drama" else []
        assert item["reason"].get("themes", []) == carried
        assert item["reason"]["kind"] in ("like_your_history", "fits_your_sequence")
    assert {len(item["reason"].get("themes", [])) for item in answer["items"]} == {0, 1, 2}
    plain = client.post("/recommend", json=asked).json()
    assert [item["item_id"] for item in plain["items"]] == [item["item_id"] for item in answer["items"]]
    assert "reason" not in plain["items"][0]


def test_themes_are_returned_and_erased(make_client: MakeClient, redis_url: str) -> None:
    write_themes(redis_url, [("ann", [Theme("genre", "drama")])], ttl_s=60)
    client = make_client(RedisHistory.from_url(redis_url))
    assert client.get("/users/ann").json()["themes"] == ["drama"]
    assert client.delete("/users/ann").status_code == 202
    assert client.get("/users/ann").json()["themes"] == []


def test_without_redis_there_are_no_themes(client: TestClient) -> None:
    answer = client.post("/recommend", json={"user_id": "ann", "history": ["i1"], "explain": True}).json()
    assert all("themes" not in item["reason"] for item in answer["items"])
