"""Profile and refresh routes: read, edit, pin, erase; request, run, cancel."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from retort.offline.cli.refresh import start_from_recipe
from retort.offline.refresh.requests import prepare_requested
from retort.offline.refresh.worker import RefreshWorker
from retort.serving.api.auth import Scope, create_key
from retort.shared.base.settings import LanguageModelSettings
from retort.shared.db.migrate import upgrade
from retort.shared.db.models import CANCELLED, DONE, Profile
from retort.shared.db.session import open_database, transaction
from retort.shared.profiles.profile_choices import find_choices
from retort.shared.profiles.refreshes import cancel_job, read_job
from tests.serving.api.test_auth import write
from tests.serving.conftest import MakeClient

NAME = "demo"
OVERRIDES = ["profiles.backend=template", "data.options.users=30", "data.options.items=40"]


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    url = f"sqlite:///{(tmp_path / 'retort.db').absolute()}"
    upgrade(url)
    return url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_database(database_url)
    yield engine
    engine.dispose()


def add_profile(engine: Engine, user_id: str, text: str, tenant: str = "default") -> None:
    with transaction(engine) as session:
        session.add(
            Profile(
                tenant=tenant,
                user_id=user_id,
                aspect="short",
                history_hash="h",
                prompt_version="p",
                model="m",
                status=DONE,
                text=text,
                n_events=4,
                grounding=0.5,
            )
        )


def test_a_profile_can_be_read_edited_and_released(client: TestClient, engine: Engine) -> None:
    add_profile(engine, "a/b", "Likes tea.")
    shown = client.get("/users/a%2Fb/profile").json()
    assert (shown["text"], shown["choice"]) == ("Likes tea.", None)
    assert shown["versions"][0]["grounding"] == 0.5
    edited = client.put("/users/a%2Fb/profile", json={"text": " I like coffee. "}).json()
    assert (edited["text"], edited["choice"], len(edited["versions"])) == ("I like coffee.", "edited", 1)
    assert find_choices(engine, ["a/b"])["a/b"].text == "I like coffee."
    assert client.delete("/users/a%2Fb/profile/choice").json()["text"] == "Likes tea."
    assert find_choices(engine, ["a/b"]) == {}


def test_a_pin_keeps_the_text_and_an_erasure_leaves_none(client: TestClient, engine: Engine) -> None:
    add_profile(engine, "ann", "Likes tea.")
    assert client.post("/users/ann/profile/pin").json()["choice"] == "pinned"
    add_profile(engine, "bob", "Likes milk.")
    assert client.delete("/users/ann/profile").json()["deleted"] == 1
    gone = client.get("/users/ann/profile").json()
    assert (gone["text"], gone["choice"], gone["versions"]) == (None, "erased", [])
    assert client.get("/users/bob/profile").json()["text"] == "Likes milk."


def test_invalid_operations_are_reported(client: TestClient, engine: Engine) -> None:
    assert client.post("/users/stranger/profile/pin").status_code == 404
    assert client.put("/users/ann/profile", json={"text": "  "}).status_code == 422
    for text in ("x" * 12_001, "\x1c\n", "tea\0", "\0", "\x7f", " \x80\x9f "):
        assert client.put("/users/ann/profile", json={"text": text}).status_code == 422, text
    assert client.put("/users/ann/profile", json={"text": "\n tea\nor coffee\n"}).json()["text"] == "tea\nor coffee"
    assert client.get("/users/stranger/profile").json()["versions"] == []
    assert client.put("/users/ann/profile", json={"text": "tea\x1b[2J \x07"}).json()["text"] == "tea[2J"
    surrogate = b'{"text": "tea \\ud800"}'
    headers = {"content-type": "application/json"}
    assert client.put("/users/ann/profile", content=surrogate, headers=headers).status_code == 422


@pytest.mark.parametrize(
    "asked",
    [
        b'{"name": "shop\\u0000"}',
        b'{"name": ""}',
        b'{"name": "shop", "budget_tokens": 1000000000000000000000}',
        b'{"name": "shop", "rules": {"max_age_days": Infinity}}',
    ],
)
def test_text_that_the_database_cannot_store_is_refused(client: TestClient, engine: Engine, asked: bytes) -> None:
    response = client.post("/refreshes", content=asked, headers={"content-type": "application/json"})
    assert response.status_code == 422


def test_without_a_database_it_is_unavailable(client: TestClient) -> None:
    assert client.get("/users/ann/profile").status_code == 503
    assert client.get("/refreshes").status_code == 503


def test_tenants_cannot_change_each_others_profiles(make_client: MakeClient, engine: Engine, tmp_path: Path) -> None:
    key, entry = create_key("ops", frozenset({Scope.ADMIN}), "other")
    write(tmp_path / "keys.json", [entry])
    client = make_client(keys_file=tmp_path / "keys.json", tenants=("default", "other"))
    client.headers["authorization"] = f"Bearer {key}"
    add_profile(engine, "ann", "Likes tea.")
    assert client.get("/users/ann/profile").json()["text"] is None
    assert client.delete("/users/ann/profile").json()["deleted"] == 0
    assert client.post("/refreshes", json={"name": NAME}).status_code == 404


@pytest.fixture
def started(engine: Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A refresh that was started by the command, and done."""
    monkeypatch.setenv("RETORT_HOME", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", database_url)
    job_id = start_from_recipe(NAME, None, tmp_path / "runs", OVERRIDES, "all", [], None)
    work(engine)
    assert read_job(engine, job_id).status == "done"
    return job_id


def work(engine: Engine) -> None:
    settings = LanguageModelSettings(_env_file=None)  # type: ignore[call-arg]
    with RefreshWorker(engine, settings, before_look=lambda: prepare_requested(engine)) as worker:
        worker.work_on()


def test_a_requested_refresh_is_run_by_a_worker(client: TestClient, engine: Engine, started: str) -> None:
    user_ids = ["u0000003", "u0000001"]
    asked = client.post("/refreshes", json={"name": NAME, "user_ids": user_ids})
    assert (asked.status_code, asked.json()["status"], asked.json()["users"]) == (202, "asked", 0)
    assert client.post("/refreshes", json={"name": NAME}).status_code == 409
    work(engine)
    done = client.get(f"/refreshes/{asked.json()['id']}").json()
    assert (done["status"], done["users"], done["reused"], done["error"]) == ("done", 2, 2, None)
    assert [one["id"] for one in client.get("/refreshes").json()["refreshes"]] == [asked.json()["id"], started]


def test_a_refresh_without_users_is_done_and_one_with_unknown_users_fails(
    client: TestClient, engine: Engine, started: str
) -> None:
    nobody = client.post("/refreshes", json={"name": NAME, "policy": "events", "rules": {"min_new_events": 3}}).json()
    work(engine)
    ended = client.get(f"/refreshes/{nobody['id']}").json()
    assert (ended["status"], ended["users"]) == ("done", 0)
    assert "due" in ended["error"]
    wrong = client.post("/refreshes", json={"name": NAME, "user_ids": ["nobody"]}).json()
    work(engine)
    failed = client.get(f"/refreshes/{wrong['id']}").json()
    assert failed["status"] == "failed"
    assert "no train history" in failed["error"]


def test_a_cancelled_refresh_is_never_done(client: TestClient, engine: Engine, started: str) -> None:
    asked = client.post("/refreshes", json={"name": NAME}).json()
    assert client.post(f"/refreshes/{asked['id']}/cancel").json()["status"] == CANCELLED
    work(engine)
    assert client.get(f"/refreshes/{asked['id']}").json()["status"] == CANCELLED
    assert client.post(f"/refreshes/{asked['id']}/cancel").status_code == 409
    assert client.get(f"/refreshes/{'0' * 32}").status_code == 404


def test_a_late_start_of_a_cancelled_refresh_leaves_nothing(
    engine: Engine, started: str, client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = client.post("/refreshes", json={"name": NAME}).json()
    before = sorted((tmp_path / "runs" / "refresh").iterdir())
    from retort.offline.refresh import requests as module

    frozen = module._freeze

    def slow(*given: object) -> object:
        done = frozen(*given)  # type: ignore[arg-type]
        cancel_job(engine, asked["id"])
        return done

    monkeypatch.setattr(module, "_freeze", slow)
    assert prepare_requested(engine) == 0
    assert sorted((tmp_path / "runs" / "refresh").iterdir()) == before
