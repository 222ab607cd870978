"""A sealed bundle and an application over it, without network."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from retort.serving.api.app import create_app
from retort.serving.runtime.settings import ServingSettings
from retort.shared.base.settings import Settings
from retort.shared.history.store import HistoryStore, MemoryHistory
from tests.serving._graphs import make_bundle

MakeClient = Callable[..., TestClient]


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny sealed bundle of 60 items, i1 … i60."""
    return make_bundle(tmp_path_factory.mktemp("bundles"))


@pytest.fixture
def make_client(bundle_path: Path, tmp_path: Path) -> Iterator[MakeClient]:
    """Builds clients of applications with the settings given; closes them afterwards."""
    entered: list[TestClient] = []

    def make(histories: HistoryStore | None = None, **serving: Any) -> TestClient:
        values = {"bundle": bundle_path, **serving}
        settings = Settings(_env_file=None, retort_home=tmp_path, redis_url=None)
        app = create_app(settings, ServingSettings(_env_file=None, **values), histories=histories or MemoryHistory())
        client = TestClient(app, raise_server_exceptions=False)
        entered.append(client.__enter__())
        return client

    yield make
    for client in entered:
        client.__exit__(None, None, None)


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    """An application with the default settings over the tiny bundle."""
    return make_client()
