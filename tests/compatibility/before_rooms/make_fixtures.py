"""Makes the fixtures of this folder with the code of commit 57cc4b1; see README.md.

This file imports the packages as they were named then, so it runs in a checkout of that commit only.
"""
# ruff: noqa: TID251

import base64
import json
import os
import shutil
import socket
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
OUT = Path(sys.argv[1])
WORK = Path(tempfile.mkdtemp())
for name in ("REDIS_URL", "HISTORIES_REDIS_URL", "DATABASE_URL", "OPENAI_BASE_URL"):
    os.environ.pop(name, None)
os.environ["RETORT_HOME"] = str(WORK / "home")

import sqlalchemy as sa  # noqa: E402
from offline.commands._opening import context_of, open_tables  # noqa: E402
from offline.commands.events import drain_once  # noqa: E402
from offline.commands.models import publish_bundle  # noqa: E402
from offline.commands.promotion import promote_bundle  # noqa: E402
from offline.embedded import private_redis  # noqa: E402
from offline.progress import Silent  # noqa: E402
from offline.recipe import load_recipe  # noqa: E402
from offline.refresh.leases import LeaseRules, lease_chunk  # noqa: E402
from offline.refresh.work import RefreshWorker  # noqa: E402
from redis import Redis  # noqa: E402
from serving.app import create_app  # noqa: E402
from serving.settings import ServingSettings  # noqa: E402
from shared.profile_choices import edit_profile, erase_profile, pin_profile  # noqa: E402
from shared.redis_history import RedisHistory, load_histories  # noqa: E402
from shared.settings import LanguageModelSettings, Settings  # noqa: E402
from shared.themes import Theme, write_themes  # noqa: E402
from starlette.testclient import TestClient  # noqa: E402

from offline import status  # noqa: E402
from offline.pipeline import open_line, run_line, steps_of  # noqa: E402
from offline.profiles.config import ProfilesConfig  # noqa: E402
from offline.refresh.jobs import create_job  # noqa: E402
from offline.refresh.snapshot import Wish, write_snapshot  # noqa: E402
from shared.db.models import RefreshChunk, Step  # noqa: E402
from tests.offline.profiles._fakes import catalogue, histories  # noqa: E402

PLACE = "/srv/retort"  # stands in the fixtures for the folder that they were made in
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
NO_SERVER = LanguageModelSettings(_env_file=None, openai_base_url=None, openai_api_key=None)
SMALL = ["data.options.users=40", "data.options.items=30", "student.embedding_dim=8", "training.epochs=2"]
GOLDEN = [
    ("POST", "/recommend", {"history": ["{0}", "{1}", "{2}"], "k": 5}),
    ("POST", "/recommend", {"history": ["{3}"], "k": 3, "fields": ["title"], "explain": True}),
    ("POST", "/recommend", {"user_id": "u0000001", "k": 5}),
    ("POST", "/recommend", {"user_id": "u0000002", "k": 5, "exclude": ["{0}", "{4}"]}),
    ("GET", "/recommend?user_id=u0000003&k=4", None),
    ("GET", "/recommend?user_id=stranger&k=4", None),
    ("POST", "/recommend", {"session_id": "guest", "k": 4}),
    ("POST", "/recommend", {"user_id": "u0000001", "k": 0}),
    ("POST", "/recommend", {"user_id": "u0000001", "unknown_field": 1}),
    ("GET", "/similar/{2}?k=4", None),
    ("POST", "/users/u0000001/merge", {}),
    ("GET", "/users/u0000001/history", None),
    ("GET", "/models", None),
    ("GET", "/nowhere", None),
    ("GET", "/users/u0000001", None),
]


def main() -> None:
    with private_redis(WORK / "redis", persist=False) as service:
        os.environ["REDIS_URL"] = service.url
        settings = Settings()
        engine = open_tables(settings)
        bundle = make_bundles(engine)
        make_run(engine)
        make_refresh(engine)
        make_choices(engine)
        make_redis(service.url, engine, bundle, settings)
        engine.dispose()
        (OUT / "redis.json").write_text(json.dumps(commands(service.url), indent=1) + "\n")
    write_database(settings)
    write_api()
    shutil.rmtree(WORK)


def make_bundles(engine: sa.Engine) -> Path:
    """Two bundles of one name; the distilled one is champion, after the plain one was. Keeps the distilled one."""
    recipe = load_recipe(str(HERE.parent.parent / "tiny.toml"), SMALL)
    bundles = [
        run_line(open_line(context_of(arm, None, engine, Silent()), WORK / "runs")).bundle
        for arm in (recipe.plain(), recipe)
    ]
    publish_bundle(bundles[0], "champion")
    publish_bundle(bundles[1], None)
    promote_bundle(bundles[1].name, "champion", force=True, because="fixture")
    promote_bundle(bundles[0].name, "challenger", force=True, because="fixture")
    shutil.copytree(bundles[1], OUT / "bundle")
    return bundles[1]


def make_run(engine: sa.Engine) -> None:
    """A submitted run: its first step is done, the second one's worker has died."""
    recipe = load_recipe(str(HERE.parent.parent / "tiny.toml"), SMALL)
    steps = steps_of(recipe, None, NO_SERVER, publish=True)
    out = WORK / "submitted"
    run_id = status.create_run(engine, recipe.name, recipe.raw, out, out, steps)
    status.lease_step(engine, run_id, steps[0].name)
    status.end_step(engine, run_id, steps[0].name)
    status.lease_step(engine, run_id, steps[1].name)
    with engine.begin() as connection:
        running = sa.update(Step).where(Step.run_id == run_id, Step.name == steps[1].name)
        connection.execute(running.values(heartbeat_at=LONG_AGO, owner="machine:1"))


def make_refresh(engine: sa.Engine) -> None:
    """Chunks of a refresh: done, leased by a worker that has died, failed for good, and waiting."""
    snapshot = write_snapshot(WORK / "snapshot", (Wish(one) for one in histories(12, 4)), catalogue(), 3)
    config = ProfilesConfig(backend="template", domain="movies", chunk_users=3)
    job_id = create_job(engine, "movies", config, snapshot)
    rules = LeaseRules()
    with RefreshWorker(engine, NO_SERVER, rules) as worker:
        lease = lease_chunk(engine, worker.name, rules)
        assert lease is not None
        assert worker._do(lease)
    assert lease_chunk(engine, "machine:1:abcdef", rules)
    chunks = sa.update(RefreshChunk).where(RefreshChunk.job_id == job_id)
    with engine.begin() as connection:
        connection.execute(chunks.where(RefreshChunk.position == 0).values(owner="machine:1:abcdef"))
        connection.execute(chunks.where(RefreshChunk.position == 1).values(heartbeat_at=LONG_AGO))
        dead = {"status": "failed", "attempts": 3, "error": "no answer within 5 s", "ended_at": LONG_AGO}
        connection.execute(chunks.where(RefreshChunk.position == 2).values(dead))
    shutil.copytree(WORK / "snapshot", OUT / "snapshot")


def make_choices(engine: sa.Engine) -> None:
    """One user has edited, one pinned and one erased the profile."""
    edit_profile(engine, "user-0", "I like quiet films.", set_by="user-0")
    pin_profile(engine, "user-1", set_by="support")
    erase_profile(engine, "user-2", set_by="user-2")


def make_redis(url: str, engine: sa.Engine, bundle: Path, settings: Settings) -> None:
    """Histories, events, sessions, a merge, exposures, themes and an erasure, by the server; half of it is drained."""
    items = item_ids(bundle)
    past = {
        f"u000000{user}": [(items[(user + step) % len(items)], 1_700_000_000_000 + step) for step in range(6)]
        for user in range(6)
    }
    load_histories(url, past.items(), max_events=1000)
    write_themes(url, [("u0000001", [Theme("genres", "Comedy"), Theme("years", "1990s")])], ttl_s=10**9)
    serving = ServingSettings(_env_file=None, bundle=bundle)
    app = create_app(settings, serving, histories=RedisHistory.from_url(url, max_events=1000))
    with TestClient(app) as client:

        def event(item: int, **owner: Any) -> None:
            body = {"item_id": items[item], "event_type": "click", "timestamp": 1_700_000_100_000 + item, **owner}
            client.post("/events", json=body).raise_for_status()

        event(0, user_id="u0000001")
        event(1, user_id="u0000004")
        event(2, session_id="guest")
        event(3, session_id="visitor")
        client.post("/recommend", json={"session_id": "visitor", "k": 3}).raise_for_status()
        client.post("/recommend", json={"user_id": "u0000001", "k": 3}).raise_for_status()
    drain_once(url, engine)
    app = create_app(settings, serving, histories=RedisHistory.from_url(url, max_events=1000))
    with TestClient(app, raise_server_exceptions=False) as client:
        client.post("/users/u0000005/merge", json={"session_id": "visitor"}).raise_for_status()
        for item, user in ((4, "u0000001"), (5, "u0000002"), (6, "u0000005")):
            body = {
                "item_id": items[item],
                "event_type": "view",
                "timestamp": 1_700_000_200_000 + item,
                "user_id": user,
            }
            client.post("/events", json=body).raise_for_status()
        client.post("/recommend", json={"user_id": "u0000002", "k": 3}).raise_for_status()
        client.delete("/users/u0000004").raise_for_status()
    # answers without side effects, from the very state that is stored
    app = create_app(settings, serving.model_copy(update={"exposures_kept": 0}), histories=RedisHistory.from_url(url))
    with TestClient(app, raise_server_exceptions=False) as client:
        golden = []
        for method, path, body in GOLDEN:
            request = {"method": method, "path": fill(path, items), "body": json.loads(fill(json.dumps(body), items))}
            response = client.request(method, request["path"], json=request["body"])
            golden.append({**request, "status": response.status_code, "response": response.json()})
    (OUT / "golden.json").write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")


def fill(text: str, items: list[str]) -> str:
    for place in range(5):
        text = text.replace(f"{{{place}}}", items[place])
    return text


def item_ids(bundle: Path) -> list[str]:
    from shared.bundle import open_bundle

    index = open_bundle(bundle).item_index
    return [index.id(item) for item in range(1, 1 + len(index))]


def commands(url: str) -> list[list[str]]:
    """What a Redis holds, as commands that make it again; every word in base64, for members are bytes."""
    found: list[list[Any]] = []
    with Redis.from_url(url) as client:
        for key in sorted(client.keys()):
            kind = client.type(key)
            if kind == b"zset":
                for member, score in client.zrange(key, 0, -1, withscores=True):
                    found.append([b"ZADD", key, repr(score).encode(), member])
            elif kind == b"hash":
                for field, value in client.hgetall(key).items():
                    found.append([b"HSET", key, field, value])
            elif kind == b"set":
                found += [[b"SADD", key, member] for member in client.smembers(key)]
            elif kind == b"stream":
                found += stream_commands(client, key)
            else:
                found.append([b"SET", key, client.get(key)])
            if client.pttl(key) > 0 and kind != b"stream":
                found.append([b"EXPIRE", key, b"1000000000"])
    return [[base64.b64encode(word).decode() for word in command] for command in found]


def stream_commands(client: "Redis[bytes]", key: bytes) -> list[list[bytes]]:
    """The entries, and the consumer groups with the entry that each has read last."""
    found = []
    for entry, fields in client.xrange(key):
        found.append([b"XADD", key, entry, *(word for pair in fields.items() for word in pair)])
    groups = client.xinfo_groups(key)
    if not found and groups:
        last = groups[0]["last-delivered-id"]
        found += [[b"XADD", key, last, b"x", b"x"], [b"XDEL", key, last]]
    return found + [[b"XGROUP", b"CREATE", key, group["name"], group["last-delivered-id"]] for group in groups]


def write_database(settings: Settings) -> None:
    import sqlite3

    path = settings.database.removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        dump = "\n".join(connection.iterdump())
    worker = f"'{socket.gethostname()}:{os.getpid()}'"
    (OUT / "database.sql").write_text(dump.replace(str(WORK), PLACE).replace(worker, "'machine:1'") + "\n")


def write_api() -> None:
    """The HTTP API's description without its texts."""
    document = json.loads((Path.cwd() / "docs" / "api" / "openapi.json").read_text())
    (OUT / "openapi.json").write_text(json.dumps(without_texts(document), separators=(",", ":")) + "\n")


def without_texts(document: Any, inside: str = "") -> Any:
    """A part of the description without `description` and `summary`, which are texts except among properties."""
    if isinstance(document, list):
        return [without_texts(part) for part in document]
    if not isinstance(document, dict):
        return document
    texts = () if inside == "properties" else ("description", "summary")
    return {name: without_texts(part, name) for name, part in document.items() if name not in texts}


if __name__ == "__main__":
    main()
