"""Access to the database for routes outside the fast path; serving works without a database."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from retort.serving.schemas.problems import Problem
from retort.shared.base.errors import StoreError
from retort.shared.db.session import open_database

Result = TypeVar("Result")


def database_exists(database_url: str) -> bool:
    """Return False when the SQLite file is missing; the check does not create it.

    An invalid address counts as existing: opening the database reports what is wrong with it.
    """
    try:
        url = make_url(database_url)
    except ArgumentError:
        return True
    return url.get_backend_name() != "sqlite" or Path(url.database or "").is_file()


async def query_database(database_url: str, query: Callable[[Engine], Result]) -> Result:
    """Run `query` in a thread, on an engine of its own.

    Returns:
        The result of `query`.

    Raises:
        Problem: 503 when there is no database or it does not answer.
    """
    if not database_exists(database_url):
        raise Problem(503, "There is no database yet; run `retort` once, or set DATABASE_URL to its address.")
    try:
        return await asyncio.to_thread(_query, database_url, query)
    except StoreError as error:
        raise Problem(503, "The database does not answer; retry shortly.", headers={"retry-after": "2"}) from error


def _query(database_url: str, query: Callable[[Engine], Result]) -> Result:
    engine = open_database(database_url)
    try:
        return query(engine)
    finally:
        # Admin routes are rare: a pool would keep connections open for nothing.
        engine.dispose()
