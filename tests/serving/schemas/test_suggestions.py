"""Unknown fields of requests are answered with the field that was probably meant."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from retort.serving.schemas.requests import Event, RecommendRequest
from retort.serving.schemas.suggestions import suggest


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("user", "user_id"),
        ("userId", "user_id"),
        ("uid", "user_id"),
        ("user-id", "user_id"),
        ("session", "session_id"),
        ("limit", "k"),
        ("top_k", "k"),
        ("filters", "filter"),
        ("exclude_items", "exclude"),
        ("candidate", "candidates"),
        ("diverstiy", "diversity"),
        ("historie", "history"),
        ("dryrun", "dry_run"),
        ("zzz", None),
    ],
)
def test_a_field_of_a_recommendation_request_is_suggested(name: str, meant: str | None) -> None:
    assert suggest(name, RecommendRequest.model_fields) == meant


@pytest.mark.parametrize(
    ("name", "meant"),
    [("item", "item_id"), ("type", "event_type"), ("eventType", "event_type"), ("ts", "timestamp"), ("id", None)],
)
def test_a_field_of_an_event_is_suggested(name: str, meant: str | None) -> None:
    assert suggest(name, Event.model_fields) == meant


@pytest.mark.parametrize(
    ("method", "path", "body", "detail"),
    [
        ("POST", "/recommend", {"user": "ann"}, "user: unknown field; did you mean user_id?"),
        (
            "POST",
            "/recommend",
            {"user_id": "ann", "pins": [{"item": "i1"}]},
            "pins.0.item: unknown field; did you mean",
        ),
        ("POST", "/events", {"user": "ann", "item_id": "i1"}, "user: unknown field; did you mean user_id?"),
        ("POST", "/events", [{"user_id": "ann", "item": "i1"}], "0.item: unknown field; did you mean item_id?"),
        (
            "POST",
            "/events",
            {"user_id": "ann", "item_id": "i1", "zzz": 1},
            "zzz: unknown field; the fields are event_id,",
        ),
        ("POST", "/users/ann/merge", {"session": "s"}, "body.session: unknown field; did you mean session_id?"),
        ("PUT", "/users/ann/profile", {"txt": "likes"}, "body.txt: unknown field; did you mean text?"),
        (
            "POST",
            "/refreshes",
            {"name": "x", "rules": {"max_age": 3}},
            "body.rules.max_age: unknown field; did you mean",
        ),
        ("POST", "/refreshes", {"name": "x", "users": ["a"]}, "body.users: unknown field; did you mean user_ids?"),
    ],
)
def test_every_body_names_the_field_that_was_meant(
    client: TestClient, method: str, path: str, body: Any, detail: str
) -> None:
    answer = client.request(method, path, json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(detail)


def test_a_query_and_a_line_of_a_batch_name_the_field_too(client: TestClient) -> None:
    assert "did you mean user_id?" in client.get("/recommend?user=ann").json()["detail"]
    lines = client.post("/recommend/batch", content=b'{"user": "ann"}\n{"user_id": "ann"}')
    assert "did you mean user_id?" in lines.text
