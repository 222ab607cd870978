"""A Redis Cluster for the stores' contracts."""

from collections.abc import Iterator

import pytest

from retort.shared.history.redis_clients import open_client
from tests.shared import redis_cluster


@pytest.fixture(scope="session")
def cluster_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of six real processes that belong to this test session."""
    with redis_cluster.cluster(tmp_path_factory.mktemp("cluster")) as url:
        yield url


@pytest.fixture
def cluster_url(cluster_server: str) -> str:
    """A real Redis Cluster, empty at the start of each test."""
    with open_client(cluster_server, timeout_s=20) as client:
        client.flushall(target_nodes="primaries")
    return cluster_server
