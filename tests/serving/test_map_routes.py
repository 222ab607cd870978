"""`/map`: places and colours of all items in binary form, and what is at a point."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from retort.shared.base.errors import BundleError
from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database
from retort.shared.model.bundle import open_bundle
from retort.shared.profiles.profile_choices import erase_profile
from tests.serving._graphs import GENRES, make_bundle
from tests.serving.conftest import MakeClient

N_ITEMS = 60
PLACES = np.random.default_rng(0).integers(0, 65536, (N_ITEMS, 2)).astype(np.uint16)
COUNTS = np.arange(N_ITEMS * 4, dtype=np.uint16).reshape(N_ITEMS, 4)


@pytest.fixture(scope="module")
def mapped_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("mapped"), places=PLACES, trends=(COUNTS, 0, 4_000))


@pytest.fixture
def mapped(make_client: MakeClient, mapped_bundle: Path) -> TestClient:
    return make_client(bundle=mapped_bundle)


def test_places_are_those_of_the_bundle_in_the_order_of_points(mapped: TestClient) -> None:
    answer = mapped.get("/map")
    assert answer.headers["content-type"] == "application/octet-stream"
    places = np.frombuffer(answer.content, "<u2").reshape(-1, 2)
    assert np.array_equal(places, PLACES)
    found = mapped.get("/items", params={"query": "i9"}).json()["items"][0]
    assert mapped.get("/map/items", params={"point": found["point"]}).json()["items"] == [found]
    assert mapped.get("/map/items?point=60&point=-1").json()["items"] == []


def test_colours_of_texts_are_places_among_the_facets_values(mapped: TestClient) -> None:
    facets = {facet["name"]: facet for facet in mapped.get("/facets").json()["facets"]}
    numbers = np.frombuffer(mapped.get("/map/colours", params={"attribute": "genre"}).content, np.uint8)
    names = [value["value"] for value in facets["genre"]["values"]]
    assert [names[number - 1] for number in numbers] == [GENRES[n % 3] for n in range(1, N_ITEMS + 1)]
    tags = np.frombuffer(mapped.get("/map/colours", params={"attribute": "tags"}).content, np.uint8)
    top = [value["value"] for value in facets["tags"]["values"]]
    for point in range(N_ITEMS):
        own = mapped.get(f"/items/i{point + 1}").json()["fields"]["tags"] or [] if point < 10 else None
        if own is not None:
            assert tags[point] == min((top.index(tag) + 1 for tag in own), default=0)


def test_colours_of_numbers_are_shades_by_rank(mapped: TestClient) -> None:
    shades = np.frombuffer(mapped.get("/map/colours", params={"attribute": "popularity"}).content, np.uint8)
    assert (shades[0], shades[-1]) == (255, 1)
    assert (np.diff(shades.astype(int)) <= 0).all()
    booleans = np.frombuffer(mapped.get("/map/colours", params={"attribute": "available"}).content, np.uint8)
    assert [booleans[9], booleans[0]] == [2, 1]


def test_an_item_has_its_events_over_time(mapped: TestClient) -> None:
    trend = mapped.get("/items/i2").json()["trend"]
    assert trend == {"start": "1970-01-01T00:00:00Z", "end": "1970-01-01T00:00:04Z", "counts": [4, 5, 6, 7]}


def test_users_are_at_the_place_of_a_typical_item(mapped: TestClient) -> None:
    own = [1, 3, 8, 20]
    for number in own:
        mapped.post("/events", json={"user_id": "ann", "item_id": f"i{number}"})
    mapped.post("/events", json={"user_id": "ann", "item_id": "unknown"})
    mapped.post("/events", json={"user_id": "bob", "item_id": "unknown"})
    (user,) = mapped.get("/map/users").json()["users"]
    assert (user["user_id"], user["theme"], user["by"]) == ("ann", None, "history")
    places = PLACES[[number - 1 for number in own]].astype(float)
    away = [sum(float(np.hypot(*(place - other))) for other in places) for place in places]
    assert [user["x"], user["y"]] == places[int(np.argmin(away))].tolist()


@pytest.fixture
def profiled(make_client: MakeClient, tmp_path: Path) -> Callable[[timedelta], TestClient]:
    """A server whose bundle has profiles of ann and bob, sealed some time ago; both and carl have a history."""

    def make(age: timedelta) -> TestClient:
        sealed = (datetime.now(UTC) - age).isoformat()
        places = {"ann": (11, 12), "bob": (21, 22), "erased": (31, 32)}
        client = make_client(bundle=make_bundle(tmp_path, places=PLACES, user_places=places, created_at=sealed))
        for user in ("ann", "bob", "carl"):
            client.post("/events", json={"user_id": user, "item_id": "i4"}).raise_for_status()
        return client

    return make


def shown(client: TestClient) -> dict[str, tuple[str, int, int]]:
    users = client.get("/map/users").raise_for_status().json()["users"]
    return {user["user_id"]: (user["by"], user["x"], user["y"]) for user in users}


BY_HISTORY = ("history", *PLACES[3].tolist())


def test_users_with_a_profile_are_at_its_place(profiled: Callable[[timedelta], TestClient]) -> None:
    assert shown(profiled(timedelta(days=1))) == {
        "ann": ("profile", 11, 12),
        "bob": ("profile", 21, 22),
        "carl": BY_HISTORY,
    }, "a user without a history is not shown, whatever the bundle holds"


def test_an_erased_user_leaves_the_map_and_does_not_come_back_by_profile(
    profiled: Callable[[timedelta], TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retort.serving.users.user_sample.KEPT_S", 0.0)
    client = profiled(timedelta(days=1))
    assert client.delete("/users/ann").status_code in (200, 202)
    assert set(shown(client)) == {"bob", "carl"}
    client.post("/events", json={"user_id": "ann", "item_id": "i4"}).raise_for_status()
    assert shown(client)["ann"] == BY_HISTORY


def test_a_user_who_decided_about_the_profile_is_not_shown_by_it(
    profiled: Callable[[timedelta], TestClient], tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'retort.db'}"
    upgrade(url)
    engine = open_database(url)
    erase_profile(engine, "ann")
    engine.dispose()
    found = shown(profiled(timedelta(days=1)))
    assert (found["ann"], found["bob"][0]) == (BY_HISTORY, "profile")


def test_a_bundle_that_may_be_older_than_a_record_of_an_erasure_shows_no_profile(
    profiled: Callable[[timedelta], TestClient],
) -> None:
    assert set(shown(profiled(timedelta(days=61))).values()) == {BY_HISTORY}


def test_choices_that_cannot_be_read_hide_every_profile(
    profiled: Callable[[timedelta], TestClient], tmp_path: Path
) -> None:
    (tmp_path / "retort.db").write_text("no database, and longer than the head of one " * 40)
    assert set(shown(profiled(timedelta(days=1))).values()) == {BY_HISTORY}


def test_a_bundle_without_a_map_and_an_unknown_attribute_say_so(client: TestClient, mapped: TestClient) -> None:
    for path in ("/map", "/map/colours?attribute=genre", "/map/users"):
        answer = client.get(path)
        assert answer.status_code == 404, path
        assert "This bundle has no map" in answer.json()["detail"]
    assert client.get("/items/i1").json()["trend"] is None
    assert mapped.get("/map/colours?attribute=nope").status_code == 404
    assert mapped.get("/map/items").json()["items"] == []


def test_a_file_that_changed_since_is_not_shown(make_client: MakeClient, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, places=PLACES)
    client = make_client(bundle=bundle)
    np.save(bundle / "item_map.npy", PLACES[::-1])
    assert client.get("/map").status_code == 503


@pytest.mark.parametrize("places", [PLACES[:5], PLACES.astype(np.int32), np.zeros((N_ITEMS, 3), np.uint16)])
def test_a_map_of_another_form_is_refused(tmp_path: Path, places: np.ndarray) -> None:
    with pytest.raises(BundleError, match=r"item_map.npy has no place of 16 bits for each item"):
        _ = open_bundle(make_bundle(tmp_path, places=places)).item_map
