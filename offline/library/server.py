"""A server of the library: the API as a child process over one bundle, with a private Redis."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

import httpx
import orjson
import polars as pl

from retort.offline.common.http import request
from retort.offline.local.local_redis import free_port, redis_service
from retort.offline.local.subprocesses import Child, start_child
from retort.shared.base.errors import RetortError
from retort.shared.base.settings import UNSET, Settings
from retort.shared.history.history_load import load_histories
from retort.shared.history.keys import DEFAULT_TENANT
from retort.shared.model.registry import CHAMPION

_READY_TIMEOUT_S = 60.0
_POLL_S = 0.2
# Settings of another server, in the environment or in `.env`, would give an own server other data, other callers, no
# console or no answer.
OWN_SERVER = {
    **dict.fromkeys(("RETORT_BUNDLE", "RETORT_EXPERIMENT", "RETORT_KEYS_FILE", "RETORT_REACHED_AT"), UNSET),
    "RETORT_METRICS_DIR": UNSET,
    "RETORT_ALIAS": CHAMPION,
    "RETORT_TENANTS": orjson.dumps([DEFAULT_TENANT]).decode(),
    "RETORT_CONSOLE": "true",
}


class Server:
    """A running API. Use as a context manager, or call `stop`."""

    def __init__(self, url: str, resources: ExitStack) -> None:
        self.url = url
        self._resources = resources

    def __repr__(self) -> str:
        return f"Server({self.url}, console at {self.url}/console)"

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the API and its Redis."""
        self._resources.close()


def start_server(resources: ExitStack, bundle: Path, histories: pl.DataFrame, port: int) -> Server:
    """Start the API and wait until it is ready.

    Args:
        resources: Closed if the start fails; otherwise the server takes them over.
        bundle: Directory of the bundle.
        histories: user_id and item_id (a list, oldest first).
        port: 0: any free port.

    Raises:
        RetortError: The API ended, or was not ready in time.
    """
    settings = Settings()
    redis = resources.enter_context(redis_service(None, settings.retort_home))
    load_histories(redis.url, _dated(histories), max_events=settings.history_length, ttl_s=None)
    environment = {**store_settings(redis.url, settings.database), "RETORT_BUNDLE": os.fspath(bundle.absolute())}
    log = settings.retort_home / "library-api.log"
    url, _ = resources.enter_context(api_process(environment, port or free_port(), log))
    return Server(url, resources.pop_all())


def store_settings(redis_url: str, database_url: str) -> dict[str, str]:
    """Environment of a child process with these stores alone: one Redis for everything, and no secret files."""
    stores = {"REDIS_URL": redis_url, "HISTORIES_REDIS_URL": redis_url, "DATABASE_URL": database_url}
    return {**stores, **dict.fromkeys((f"{name}_FILE" for name in stores), "")}


@contextmanager
def api_process(environment: dict[str, str], port: int, log: Path) -> Iterator[tuple[str, Child]]:
    """Run the API on loopback as a child process; yields its URL and the process once it is ready.

    Args:
        environment: Its settings, with those of `store_settings`. Settings of another server, in the environment of
            this process or in `.env`, do not reach it.

    Raises:
        RetortError: It ended, or was not ready in time.
    """
    url = f"http://127.0.0.1:{port}"
    environment = {**OWN_SERVER, **environment, "RETORT_HOST": "127.0.0.1", "RETORT_PORT": str(port)}
    with start_child([sys.executable, "-m", "retort.serving"], "API", log=log, env=environment) as child:
        end = time.monotonic() + _READY_TIMEOUT_S
        with httpx.Client(base_url=url) as client:
            while not _is_ready(client):
                child.check("it ended while starting")
                if time.monotonic() > end:
                    raise RetortError(f"the API was not ready within {_READY_TIMEOUT_S:.0f} s; read {log}.")
                time.sleep(_POLL_S)
        yield url, child


def _is_ready(client: httpx.Client) -> bool:
    try:
        return request(client, "GET", "/health/ready", deadline_s=10.0).is_success
    except httpx.TransportError:
        return False


def _dated(histories: pl.DataFrame) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """Histories with times: positions, which keep the order."""
    for user_id, items in histories.iter_rows():
        yield user_id, [(item, place + 1) for place, item in enumerate(items)]
