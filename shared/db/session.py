"""Connections, transactions and the database's clock, the same for SQLite and PostgreSQL."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
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

from retort.shared.base.disk import is_disk_full
from retort.shared.base.errors import StoreError, StoreOutdatedError

_BUSY_TIMEOUT_MS = 30_000
_BEGIN = "sqlite_begin"
# libpq ends a connection whose server has vanished without a word: a query would wait for it for a quarter of an hour.
_DEAD_CONNECTION = {
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


def database_address(database_url: str) -> sa.URL:
    """Parse the address of a PostgreSQL or SQLite database without connecting. Raises StoreError for others."""
    try:
        url = make_url(database_url)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        raise StoreError(
            "DATABASE_URL is not a database address; write one like postgresql+psycopg://user@host/name or sqlite:///file.db."
        ) from None
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise StoreError(f"DATABASE_URL names {url.get_backend_name()!r}; use a PostgreSQL or SQLite database.")
    try:
        url.get_dialect()
    except NoSuchModuleError:
        raise StoreError(
            f"DATABASE_URL names the driver {url.get_driver_name()!r}, which is not installed; "
            "write postgresql+psycopg:// or sqlite:///."
        ) from None
    return url


def open_database(database_url: str, *, statement_timeout_s: float | None = None) -> Engine:
    """Create an engine for the database, without connecting. Close it with `.dispose()`.

    Args:
        statement_timeout_s: PostgreSQL cancels statements that take longer, also those that wait for a lock.
    """
    url = database_address(database_url)
    if url.get_backend_name() != "postgresql":
        return _open_sqlite(url)
    engine = sa.create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10, **_DEAD_CONNECTION})
    if statement_timeout_s is not None:
        milliseconds = round(1000 * statement_timeout_s)

        def limit_statements(connection: Connection) -> None:
            # for the transaction alone: behind a connection pooler, a session's setting would reach other clients
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds}")

        event.listen(engine, "begin", limit_statements)
    return engine


def _open_sqlite(url: sa.URL) -> Engine:
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # None: the driver opens no transactions of its own; `_begin_sqlite` opens them.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
    _enable_write_ahead_log(cursor)
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _enable_write_ahead_log(cursor: sqlite3.Cursor) -> None:
    """Switch to WAL. SQLite ignores the busy timeout here while another process opens the new file, so retry."""
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
    """Open a transaction that may write. It is committed at the end of the block and rolled back on any error."""
    # A writer takes SQLite's lock at the start: SQLite refuses, without waiting, a reader that becomes a writer.
    with (
        _translated_errors(engine),
        Session(engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"}), expire_on_commit=False) as session,
        session.begin(),
    ):
        yield session


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """Open a transaction that only reads. It does not wait for writers."""
    with _translated_errors(engine), Session(engine, expire_on_commit=False) as session:
        yield session


def database_time(session: Session) -> datetime:
    """Return the database's time in UTC, on which all workers agree. SQLite's clock counts milliseconds."""
    if session.get_bind().dialect.name == "postgresql":
        at: datetime = session.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        return at.astimezone(UTC)
    text = session.execute(sa.select(sa.func.strftime("%Y-%m-%d %H:%M:%f", "now"))).scalar_one()
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@contextmanager
def _translated_errors(engine: Engine) -> Iterator[None]:
    """Translate the driver's errors about a missing database or table into one sentence."""
    where = engine.url.render_as_string(hide_password=True)
    try:
        yield
    except (OperationalError, ProgrammingError) as error:
        if _table_missing(error):
            raise StoreOutdatedError(
                f"the database {where} lacks a table of this version; run `retort db upgrade`."
            ) from error
        if is_disk_full(error.orig):
            raise StoreError(
                f"the disk that holds the database {where} is full; free some space and run the same command again."
            ) from error
        raise StoreError(
            f"the database {where} refused a statement ({' '.join(str(error.orig).split())}); "
            "check that it runs and that its user may write."
        ) from error
    except DatabaseError as error:
        if "not a database" not in str(error.orig):
            raise
        raise StoreError(f"{where} is not an SQLite database; correct DATABASE_URL.") from error


def _table_missing(error: DBAPIError) -> bool:
    message = str(error.orig)
    missing = "does not exist" in message and "database" not in message
    return missing or "no such table" in message or "no such column" in message
