"""Two tiny sealed bundles, and a registry that knows them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine

from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database
from retort.shared.model import registry
from retort.shared.model.manifest import read_manifest
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


@contextmanager
def registry_of(url: str, bundles: list[Path]) -> Iterator[Registry]:
    """An empty database's registry with all bundles in it, the first of them promoted."""
    upgrade(url)
    found = Registry(url, open_database(url))
    for path in bundles:
        found.publish(path)
    found.promote(bundles[0])
    yield found
    found.engine.dispose()


@pytest.fixture
def published(bundles: list[Path], tmp_path: Path) -> Iterator[Registry]:
    with registry_of(f"sqlite:///{tmp_path / 'retort.db'}", bundles) as found:
        yield found
