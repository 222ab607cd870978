"""Bundle, Redis keys and HTTP API of the last commit before the rooms: today's server answers the same."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from retort.serving.api.app import create_app
from retort.serving.runtime.settings import ServingSettings
from retort.shared.base.settings import Settings
from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database
from retort.shared.events.drain import drain, drain_exposures, waiting
from retort.shared.events.events_table import EventsTable, read_events
from retort.shared.events.exposures_table import ExposuresTable, read_exposures
from retort.shared.history.redis_history import RedisHistory
from retort.shared.history.store import Owner
from retort.shared.model.bundle import open_bundle
from tests.compatibility._fixtures import BUNDLE, load_database, load_redis, read_json

GOLDEN = read_json("golden.json")
# New in every response.
_FRESH = {"request_id", "impression", "next", "loaded_at", "latency_ms"}
# Sentences for a person, which may be reworded.
_TEXTS = {"description", "summary", "detail", "why"}


def comparable(value: Any, dropped: set[str]) -> Any:
    if isinstance(value, dict):
        return {name: comparable(part, dropped) for name, part in value.items() if name not in dropped}
    if isinstance(value, list):
        return [comparable(part, dropped) for part in value]
    # two processors' kernels differ in the last digits
    return pytest.approx(value, rel=1e-4) if isinstance(value, float) else value


@pytest.fixture
def old_redis(redis_url: str) -> str:
    load_redis(redis_url)
    return redis_url


@pytest.fixture
def client(old_redis: str, tmp_path: Path) -> Iterator[TestClient]:
    """Today's server over the earlier commit's bundle, Redis and database."""
    url = f"sqlite:///{tmp_path / 'retort.db'}"
    load_database(url, tmp_path)
    upgrade(url)
    settings = Settings(_env_file=None, retort_home=tmp_path, redis_url=old_redis, database_url=url)  # type: ignore[call-arg]
    serving = ServingSettings(_env_file=None, bundle=BUNDLE, exposures_kept=0)  # type: ignore[call-arg]
    app = create_app(settings, serving, histories=RedisHistory.from_url(old_redis))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def test_the_bundles_own_golden_requests_are_answered_equally() -> None:
    bundle = open_bundle(BUNDLE)
    scorer = bundle.scorer()
    lines = [json.loads(line) for line in (BUNDLE / "golden.jsonl").read_text().splitlines()]
    assert lines
    for line in lines:
        history = bundle.item_index.indexes(line["history"])
        items, scores = scorer.top_k([history], len(line["items"])).row(0)
        assert [bundle.item_index.id(int(item)) for item in items] == line["items"]
        assert scores.tolist() == pytest.approx(line["scores"], rel=1e-4)


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: f"{golden['method']} {golden['path']} {golden['body']}")
def test_responses_are_equal(client: TestClient, golden: dict[str, Any]) -> None:
    response = client.request(golden["method"], golden["path"], json=golden["body"])
    dropped = _FRESH | (_TEXTS if golden["status"] >= 400 else set())
    assert response.status_code == golden["status"]
    assert comparable(golden["response"], dropped) == comparable(response.json(), dropped)


def test_histories_sessions_and_erasures_are_read(old_redis: str, client: TestClient) -> None:
    async def read() -> tuple[list[list[str]], list[Any]]:
        store = RedisHistory.from_url(old_redis)
        try:
            owners = [Owner("u0000005"), Owner("u0000004"), Owner("stranger")]
            return await store.recent(owners, 1000), await store.entries(Owner("u0000001"))
        finally:
            await store.close()

    histories, entries = asyncio.run(read())
    assert [len(history) for history in histories] == [8, 0, 0]
    assert [entry.time_ms for entry in entries][-2:] == [1_700_000_100_000, 1_700_000_200_004]
    erasure = client.get("/users/u0000004/erasure").json()
    assert erasure["status"] == "done"
    guest = client.post("/users/u0000003/merge", json={"session_id": "guest"})
    assert guest.status_code == 200
    assert len(client.get("/users/u0000003/history").json()["events"]) == 7


def test_waiting_events_and_exposures_are_drained(old_redis: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'events.db'}"
    load_database(url, tmp_path)
    upgrade(url)
    engine = open_database(url)
    before = sum(len(batch) for batch in read_events(engine))
    n_lists = sum(len(batch) for batch in read_exposures(engine))
    assert waiting(old_redis) == 4
    assert drain_exposures(old_redis, ExposuresTable(engine), worker="new") == 1
    assert drain(old_redis, EventsTable(engine), worker="new") == 3
    assert waiting(old_redis) == 0
    events = [event for batch in read_events(engine) for event in batch]
    assert len(events) == before + 3
    assert "visitor" not in {event.session_id for event in events if event.user_id is None}, "merged into u0000005"
    assert sum(len(batch) for batch in read_exposures(engine)) == n_lists + 1
    engine.dispose()


def test_the_http_api_still_has_what_it_had(client: TestClient) -> None:
    """Paths, parameters, bodies, statuses and fields may be added. None may be removed or change its type."""
    old, new = (description(part) for part in (read_json("openapi.json"), client.get("/openapi.json").json()))
    assert missing(old, new) == []


# Texts and names of the description; patterns, because more control characters are refused than before.
_DESCRIPTIVE = {"description", "summary", "title", "operationId", "examples", "pattern", "security"}


def description(document: Any) -> Any:
    """The paths of an OpenAPI document, with references resolved and without texts and names."""

    def resolve(part: Any, inside: str = "") -> Any:
        if isinstance(part, list):
            return [resolve(each) for each in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            found = document
            for name in part["$ref"].removeprefix("#/").split("/"):
                found = found[name]
            return resolve(found)
        texts = set() if inside == "properties" else _DESCRIPTIVE
        return {name: resolve(each, name) for name, each in part.items() if name not in texts}

    return resolve(document["paths"])


def missing(old: Any, new: Any, place: str = "") -> list[str]:
    """List the places where the new description lacks or changes what the old one has."""
    if isinstance(old, dict) and isinstance(new, dict):
        found: list[str] = []
        for name, part in old.items():
            if name in new:
                found += missing(part, new[name], f"{place}/{name}")
            elif not (name == "additionalProperties" and part is False):  # more members are accepted now
                found.append(f"{place}/{name}")
        return found
    if isinstance(old, list) and place.endswith("/parameters"):
        return missing(_by_name(old), _by_name(new), place + "/")
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        parts = enumerate(zip(old, new, strict=True))
        return [found for i, (before, now) in parts for found in missing(before, now, f"{place}[{i}]")]
    return [] if old == new else [f"{place}: {old} is now {new}"]


def _by_name(parameters: list[Any]) -> dict[str, Any]:
    # The old description listed KServe's version as a query parameter, which was never read, or as null.
    return {f"{each['in']} {each['name']}": each for each in parameters if each["name"] != "version"}
