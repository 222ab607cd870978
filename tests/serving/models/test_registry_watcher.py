"""The registry watcher follows the aliases and tolerates failures of the registry."""

import asyncio
import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

import fsspec
import orjson
import pyarrow.parquet as pq
import pytest

from retort.serving.models.model_slots import ModelSlots
from retort.serving.models.registry_watcher import RegistryWatcher
from retort.serving.runtime.metrics import Metrics
from retort.serving.runtime.settings import ServingSettings
from retort.shared.base.hashing import hash_file
from retort.shared.base.settings import Settings
from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database
from retort.shared.model import registry
from retort.shared.model.bundle import GOLDEN, ITEMS, MODEL
from retort.shared.model.manifest import MANIFEST, read_manifest
from tests.serving._graphs import make_bundle
from tests.serving.conftest import MakeClient

CHAMPION = ("default", "champion")


class World:
    """A database, two bundles and a follower."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.settings = Settings(_env_file=None, retort_home=home, database_url=f"sqlite:///{home / 'r.db'}")
        upgrade(self.settings.database)
        self.engine = open_database(self.settings.database)
        self.bundles = [make_bundle(home / "bundles", seed=seed) for seed in (0, 1)]
        self.restart()

    def restart(self, **changed: object) -> None:
        self.models = ModelSlots("champion")
        self.slot = self.models.slot("default")
        self.metrics = Metrics()
        settings = self.settings.model_copy(update=changed)
        self.watcher = RegistryWatcher(self.models, self.metrics, settings, ServingSettings(_env_file=None))

    def promote(self, path: Path, scheme: str = "") -> str:
        published = registry.publish(self.engine, read_manifest(path), f"{scheme}{path}")
        registry.promote(self.engine, published.bundle_id)
        return published.bundle_id

    def follow(self) -> str | None:
        self.watcher.check_alias(*CHAMPION, self.slot)
        return self.slot.current.version if self.slot.current else None


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_promotion_and_rollback_are_followed(world: World) -> None:
    assert world.follow() is None
    assert "champion" in world.watcher.problems["default", "champion"]
    first = world.promote(world.bundles[0])
    assert world.follow() == first
    second = world.promote(world.bundles[1])
    assert world.follow() == second
    registry.rollback(world.engine)
    assert world.follow() == first
    text = world.metrics.render().decode()
    assert 'retort_bundle_swaps_total{alias="champion",outcome="taken",tenant="default"} 3.0' in text
    assert f'name="tiny",tenant="default",version="{second}"}} 0.0' in text
    assert f'name="tiny",tenant="default",version="{first}"}} 1.0' in text


def test_a_damaged_bundle_is_refused_once_and_the_current_one_stays(world: World) -> None:
    first = world.promote(world.bundles[0])
    world.follow()
    world.promote(world.bundles[1])
    (world.bundles[1] / MODEL).write_bytes(b"cut")
    for _ in range(3):
        assert world.follow() == first
    assert len(world.slot.refusals) == 1
    assert 'outcome="refused",tenant="default"} 1.0' in world.metrics.render().decode()


def test_a_damaged_bundle_with_a_file_uri_is_refused_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retort.serving.models.registry_watcher.RETRY_REFUSED_S", 0.0)
    world.promote(world.bundles[0], scheme="file://")
    (world.bundles[0] / MODEL).write_bytes(b"cut")
    for _ in range(3):
        assert world.follow() is None
    assert [refusal.where for refusal in world.slot.refusals] == [f"file://{world.bundles[0]}"]


@pytest.mark.parametrize("away", ["postgresql://u:p@127.0.0.1:1/none", "sqlite:///{home}/not-there.db"])
def test_without_the_database_the_last_known_bundle_is_loaded(world: World, away: str) -> None:
    first = world.promote(world.bundles[0])
    world.follow()
    world.restart(database_url=away.format(home=world.home))
    assert world.follow() == first
    assert world.watcher.problems
    assert not (world.home / "not-there.db").exists(), "looking creates nothing"


def test_a_start_while_the_champion_is_refused_takes_the_last_good_bundle(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    first = world.promote(world.bundles[0])
    world.follow()
    second = world.promote(world.bundles[1])
    (world.bundles[1] / MODEL).write_bytes(b"cut")
    world.restart()
    for _ in range(3):
        assert world.follow() == first
    assert [refusal.where for refusal in world.slot.refusals] == [str(world.bundles[1])]
    (said,) = [record for record in caplog.records if "last known good bundle serves" in record.message]
    assert vars(said)["version"] == first
    assert "model.onnx" in vars(said)["reason"]
    assert "model.onnx" in str(world.slot.outdated)
    make_bundle(world.home / "again", seed=1)
    (world.bundles[1] / MODEL).write_bytes((world.home / "again" / second / MODEL).read_bytes())
    world.watcher._refused.clear()
    assert world.follow() == second, "the champion is tried again"
    assert world.slot.outdated is None


def test_a_silent_database_does_not_delay_the_start(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retort.serving.models.registry_watcher.REGISTRY_PATIENCE_S", 0.1)
    first = world.promote(world.bundles[0])
    world.follow()

    async def story(watcher: RegistryWatcher) -> None:
        task = asyncio.create_task(watcher.run())
        async with asyncio.timeout(5):
            while world.slot.current is None:
                await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait([task])

    with socket.create_server(("127.0.0.1", 0)) as silent:
        world.restart(database_url=f"postgresql://u:p@127.0.0.1:{silent.getsockname()[1]}/none")
        started = time.monotonic()
        asyncio.run(story(world.watcher))
        assert time.monotonic() - started < 5
    assert world.slot.current is not None
    assert world.slot.current.version == first


def test_a_start_with_an_empty_registry_takes_the_last_good_bundle(world: World) -> None:
    first = world.promote(world.bundles[0])
    world.follow()
    upgrade(f"sqlite:///{world.home / 'empty.db'}")
    world.restart(database_url=f"sqlite:///{world.home / 'empty.db'}")
    assert world.follow() == first
    assert "champion" in world.watcher.problems[CHAMPION]
    assert "champion" in str(world.slot.outdated)


@pytest.mark.parametrize("registry_is_empty", [False, True])
def test_a_start_without_the_files_of_the_champion_takes_the_one_before_it(
    world: World, registry_is_empty: bool, caplog: pytest.LogCaptureFixture
) -> None:
    first = world.promote(world.bundles[0])
    world.follow()
    world.promote(world.bundles[1])
    world.follow()
    shutil.rmtree(world.bundles[1])
    upgrade(f"sqlite:///{world.home / 'empty.db'}")
    for _ in range(2):  # and again after it has served
        world.restart(**({"database_url": f"sqlite:///{world.home / 'empty.db'}"} if registry_is_empty else {}))
        assert [world.follow() for _ in range(3)] == [first] * 3
        assert world.slot.outdated
    (world.bundles[0] / MODEL).write_bytes(b"cut")
    world.restart()
    assert [world.follow() for _ in range(3)] == [None] * 3
    assert {Path(refusal.where) for refusal in world.slot.refusals} == set(world.bundles)


@pytest.mark.parametrize(
    "note", [b"", b"{", b"[1]", b'{"uri": 5}', b"\xff", b'{"bundle_id": "a", "uri": "b", "before": 1}']
)
def test_a_damaged_note_is_no_failure(world: World, note: bytes) -> None:
    path = world.home / "serving" / "default.champion.json"
    path.parent.mkdir()
    path.write_bytes(note)
    assert world.follow() is None
    first = world.promote(world.bundles[0])
    assert world.follow() == first
    assert first in path.read_text()


def test_a_note_that_cannot_be_written_is_said_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    (world.home / "serving").write_text("a file where a directory is needed")
    first = world.promote(world.bundles[0])
    for _ in range(3):
        assert world.follow() == first
    assert len([record for record in caplog.records if "cannot be noted" in record.message]) == 1


@pytest.mark.parametrize("damage", ["no parquet", "no popularity", "golden", "uri"])
def test_a_bundle_of_wrong_contents_is_refused_while_following(world: World, damage: str) -> None:
    first = world.promote(world.bundles[0])
    world.follow()
    path = world.bundles[1]
    name = GOLDEN if damage == "golden" else ITEMS
    if damage == "no popularity":
        pq.write_table(pq.read_table(path / ITEMS).drop_columns(["popularity"]), path / ITEMS)
    else:
        (path / name).write_bytes(b'{"form": "another"}')
    manifest = orjson.loads((path / MANIFEST).read_bytes())
    manifest["files"][name] = {"sha256": hash_file(path / name), "bytes": (path / name).stat().st_size}
    (path / MANIFEST).write_bytes(orjson.dumps(manifest))
    world.promote(path, scheme="nosuch://" if damage == "uri" else "")
    for _ in range(2):
        world.watcher.check_alias(*CHAMPION, world.slot)
    assert world.slot.current is not None
    assert world.slot.current.version == first
    assert len(world.slot.refusals) == 1
    assert ("downloaded" if damage == "uri" else name) in world.slot.refusals[0].reason


def test_a_running_server_swaps_after_a_promotion(world: World, make_client: Callable[..., object]) -> None:
    from starlette.testclient import TestClient

    from retort.serving.api.app import create_app
    from retort.shared.history.store import MemoryHistory

    serving = ServingSettings(_env_file=None, follow_every_s=0.05)
    app = create_app(world.settings, serving, histories=MemoryHistory())
    with TestClient(app) as client:
        assert client.get("/health/ready").status_code == 503
        for path in (*world.bundles, world.bundles[0]):
            version = world.promote(path)
            until = time.monotonic() + 10
            while time.monotonic() < until:
                model = client.post("/recommend", json={"history": ["i1"]})
                if model.status_code == 200 and model.json()["model"]["version"] == version:
                    break
                time.sleep(0.02)
            else:
                pytest.fail("the promotion was not followed")
        assert client.get("/health/ready").status_code == 200


def test_readiness_says_when_the_last_good_bundle_serves(world: World, make_client: MakeClient) -> None:
    client = make_client()
    [(_, _, slot)] = client.app.services.models.all()  # type: ignore[attr-defined]
    assert client.get("/health/ready").json() == {"status": "ready", "degraded": []}
    first = world.promote(world.bundles[0])
    assert world.follow() == first
    world.promote(world.bundles[1])
    (world.bundles[1] / MODEL).write_bytes(b"cut")
    assert world.follow() == first
    slot.outdated = world.slot.outdated
    assert client.get("/health/ready").json()["outdated"] == ["champion"]
    assert "model.onnx" in client.get("/models").json()["models"][0]["outdated"]
    registry.rollback(world.engine)
    assert (world.follow(), world.slot.outdated) == (first, None)


def test_a_fixed_bundle_stays_while_the_alias_of_an_ab_test_is_watched(world: World, tmp_path: Path) -> None:
    from starlette.testclient import TestClient

    from retort.serving.api.app import create_app
    from retort.shared.history.store import MemoryHistory

    own, other = world.bundles
    file = tmp_path / "experiment.json"
    file.write_text('{"name": "trial", "variants": [{"name": "new", "share": 1, "alias": "challenger"}]}')
    serving = ServingSettings(_env_file=None, bundle=own, experiment=file, follow_every_s=0.05)
    champion = world.promote(other)
    registry.promote(world.engine, champion, "challenger")
    app = create_app(world.settings, serving, histories=MemoryHistory())
    with TestClient(app) as client:
        client.post("/events", json={"user_id": "ann", "item_id": "i7"})
        until = time.monotonic() + 10
        while client.post("/recommend", json={"user_id": "ann"}).json()["model"]["version"] != champion:
            assert time.monotonic() < until, "the experiment's alias was not followed"
            time.sleep(0.02)
        inline = client.post("/recommend", json={"history": ["i7"]}).json()
        assert inline["model"]["version"] == own.name, "RETORT_BUNDLE answers whoever is in no variant"


def test_an_unreadable_alias_is_logged_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    for alias in ("champion", "challenger") * 3:
        world.watcher.check_alias("default", alias, world.models.slot("default", alias))
    told = [record for record in caplog.records if "cannot read an alias" in record.message]
    assert sorted(vars(record)["alias"] for record in told) == ["challenger", "champion"]


def test_unnamed_copies_are_removed(world: World) -> None:
    copies = world.home / "serving" / "bundles"
    for number, name in enumerate(("kept by a note", "gone", "third", "second")):
        (copies / name).mkdir(parents=True)
        os.utime(copies / name, (number, number))
    (world.home / "serving" / "other.champion.json").write_text('{"bundle_id": "kept by a note", "uri": "s3://b/1"}')
    store = fsspec.filesystem("memory")
    store.put(str(world.bundles[0]), "/bundles/pruned", recursive=True)
    published = registry.publish(world.engine, read_manifest(world.bundles[0]), "memory://bundles/pruned")
    registry.promote(world.engine, published.bundle_id)
    assert world.follow() == published.bundle_id
    left = {place.name for place in copies.iterdir()}
    assert left == {"kept by a note", "second", "third", published.bundle_id}
