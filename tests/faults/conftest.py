"""Two tiny sealed bundles, and a registry that knows them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine

from shared import registry
from shared.bundle import read_manifest
from shared.db.migrate import upgrade
from shared.db.session import open_database
from tests.serving._graphs import make_bundle


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two that answer differently."""
    place = tmp_path_factory.mktemp("bundles")
    return [make_bundle(place, seed=seed) for seed in (0, 1)]


@dataclass
class Registry:
    """A database with published bundles; the first is the champion."""

    url: str
    engine: Engine

    def publish(self, path: Path) -> None:
        registry.publish(self.engine, read_manifest(path), str(path))

    def promote(self, path: Path) -> None:
        registry.promote(self.engine, path.name)

    def roll_back(self) -> None:
        registry.rollback(self.engine)


@pytest.fixture
def published(bundles: list[Path], tmp_path: Path) -> Iterator[Registry]:
    url = f"sqlite:///{tmp_path / 'retort.db'}"
    upgrade(url)
    registry_ = Registry(url, open_database(url))
    for path in bundles:
        registry_.publish(path)
    registry_.promote(bundles[0])
    yield registry_
    registry_.engine.dispose()
