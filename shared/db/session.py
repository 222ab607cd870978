"""Connections and transactions; SQLite and PostgreSQL behave alike behind these functions."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    NoSuchModuleError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.orm import Session

from retort.shared.base.errors import StoreError, StoreOutdatedError

_BUSY_TIMEOUT_MS = 30_000
_BEGIN = "sqlite_begin"


def database_address(database_url: str) -> sa.URL:
    """The address of a PostgreSQL or SQLite; StoreError where it is none. Nothing is asked of the database."""
    try:
        url = make_url(database_url)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        raise StoreError(
            "DATABASE_URL is not a database address; write one like postgresql+psycopg://user@host/name or sqlite:///file.db."
        ) from None
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise StoreError(
            f"DATABASE_URL names {url.get_backend_name()!r}; Retort keeps its tables in PostgreSQL or SQLite."
        )
    try:
        url.get_dialect()
    except NoSuchModuleError:
        raise StoreError(
            f"DATABASE_URL names the driver {url.get_driver_name()!r}, which is not there; "
            "write postgresql+psycopg:// or sqlite:///."
        ) from None
    return url


def open_database(database_url: str) -> Engine:
    """An engine over the database; nothing is connected yet. Close it with `.dispose()`."""
    url = database_address(database_url)
    if url.get_backend_name() == "postgresql":
        return sa.create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10})
    return _open_sqlite(url)


def _open_sqlite(url: sa.URL) -> Engine:
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # None: the driver opens no transactions behind our back, `_begin_sqlite` does.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
    _keep_a_write_ahead_log(cursor)
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _keep_a_write_ahead_log(cursor: sqlite3.Cursor) -> None:
    """SQLite refuses this switch at once where others open the new file too, busy timeout or not; so ask again."""
    give_up_at_s = time.monotonic() + _BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up_at_s:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """A transaction that may write: committed at the end of the block, undone on any error."""
    # A writer takes SQLite's lock at once and waits for it: a reader that turns writer is refused without waiting.
    with (
        _told(engine),
        Session(engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"}), expire_on_commit=False) as session,
        session.begin(),
    ):
        yield session


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """A transaction that only reads, beside any writer."""
    with _told(engine), Session(engine, expire_on_commit=False) as session:
        yield session


@contextmanager
def _told(engine: Engine) -> Iterator[None]:
    """Turn what the driver says of a missing database or table into one sentence."""
    where = engine.url.render_as_string(hide_password=True)
    try:
        yield
    except (OperationalError, ProgrammingError) as error:
        if _table_missing(error):
            raise StoreOutdatedError(
                f"the database {where} lacks a table of this version; run `retort db upgrade`."
            ) from error
        raise StoreError(
            f"the database {where} did not do what was asked ({' '.join(str(error.orig).split())}); "
            "is it up, and may we write?"
        ) from error
    except DatabaseError as error:
        if "not a database" not in str(error.orig):
            raise
        raise StoreError(f"{where} names a file that is no SQLite database; correct DATABASE_URL.") from error


def _table_missing(error: DBAPIError) -> bool:
    said = str(error.orig)
    return "no such table" in said or "no such column" in said or ("does not exist" in said and "database" not in said)
