"""`retort bootstrap`: the first bundle of an empty system, with a real worker and a real Redis."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from retort.offline.cli.bootstrap import bootstrap
from retort.offline.local.subprocesses import Child, start_child
from retort.shared.base.errors import RetortError
from retort.shared.base.settings import Settings
from retort.shared.db.session import open_database
from retort.shared.model import registry
from retort.shared.model.bundle import open_bundle

_TINY = str(Path(__file__).parents[2] / "tiny.toml")


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, redis_url: str, tmp_path: Path) -> Settings:
    """An empty system: the queue in one database of Redis, histories in another."""
    histories = redis_url.removesuffix("/0") + "/1"
    with redis.Redis.from_url(histories) as client:
        client.flushdb()
    for name, value in {
        "REDIS_URL": redis_url,
        "HISTORIES_REDIS_URL": histories,
        "DATABASE_URL": f"sqlite:///{tmp_path / 'retort.db'}",
        "RETORT_HOME": str(tmp_path / "home"),
        "OPENAI_BASE_URL": "",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return Settings()


@pytest.fixture
def worker(settings: Settings, tmp_path: Path) -> Iterator[Child]:
    with start_child(
        [sys.executable, "-m", "retort.offline.cli", "worker"], "worker", log=tmp_path / "worker.log"
    ) as child:
        yield child


def test_an_empty_system_gets_a_bundle_and_histories_once(
    settings: Settings, worker: Child, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = bootstrap(_TINY, None, tmp_path / "runs")
    steps = [line for line in capsys.readouterr().out.splitlines() if line.endswith(" is done")]
    assert len(steps) == len(set(steps)) > 3, "each step is reported once"
    engine = open_database(settings.database)
    champion = registry.resolve(engine, registry.CHAMPION)
    engine.dispose()
    assert champion.bundle_id in summary
    assert open_bundle(Path(champion.uri)).bundle_id == champion.bundle_id
    with redis.Redis.from_url(str(settings.histories_url)) as client:
        assert client.dbsize() == 60, "histories went to serving's Redis, not to the queue's"
    assert "serves already" in bootstrap(_TINY, None, tmp_path / "runs")


def test_a_failed_run_is_reported_and_the_next_bootstrap_retries(worker: Child, tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text(Path(_TINY).read_text().replace('source = "synthetic"', 'source = "table"'))
    for _ in range(2):
        with pytest.raises(RetortError):
            bootstrap(str(broken), tmp_path, tmp_path / "runs")


def test_the_recipe_none_does_nothing(tmp_path: Path) -> None:
    assert "no first bundle" in bootstrap("none", None, tmp_path / "runs")
