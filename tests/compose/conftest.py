"""One stack for all tests of this folder; they are a story and run in the order of the file."""

import os
from collections.abc import Iterator

import pytest

from retort.offline.local.local_redis import free_port
from tests.compose._stack import BUILD_PATIENCE_S, Stack, engine_missing, wait

APIS = 3


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Built from this working tree and started empty; ends with everything that it made."""
    missing = engine_missing()
    if missing is not None:
        pytest.skip(f"{missing}: the containers were not tried; start an engine and run `make compose-test`")
    stack = Stack(f"retort-test-{os.getpid()}", free_port(), free_port())
    try:
        stack.compose("build", "migrate", "api", timeout_s=BUILD_PATIENCE_S)
        stack.up(APIS)
        wait("nginx is healthy", lambda: stack.healthy("nginx"), 300)
        yield stack
    finally:
        stack.compose("down", "-v", "--remove-orphans", "-t", "5")
