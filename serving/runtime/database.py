"""Access to the database for routes outside the fast path; serving works without a database."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from retort.serving.runtime.threads import DATABASE_THREADS
from retort.serving.schemas.problems import Problem
from retort.shared.base.errors import StoreError
from retort.shared.db.session import open_database

Result = TypeVar("Result")

CALL_TIMEOUT_S = 10.0


def database_exists(database_url: str) -> bool:
    """Return False when the SQLite file is missing; the check does not create it.

    An invalid address counts as existing: opening the database reports what is wrong with it.
    """
    try:
        url = make_url(database_url)
    except ArgumentError:
        return True
    return url.get_backend_name() != "sqlite" or Path(url.database or "").is_file()


async def run_database_call(function: Callable[..., Result], *args: Any) -> Result:
    """Run a blocking call to the database in a thread of its own pool, for at most `CALL_TIMEOUT_S`.

    A call that takes longer continues in its thread, but the caller no longer waits for it.

    Raises:
        StoreError: It takes longer, or all threads of the pool wait for the database.
    """
    try:
        async with asyncio.timeout(CALL_TIMEOUT_S):
            return await DATABASE_THREADS.run(function, *args)
    except TimeoutError:
        raise StoreError(
            f"the database did not answer within {CALL_TIMEOUT_S:.0f} s; check DATABASE_URL and that it runs."
        ) from None


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
        return await run_database_call(_query, database_url, query)
    except StoreError as error:
        raise Problem(503, "The database does not answer; retry shortly.", headers={"retry-after": "2"}) from error


def _query(database_url: str, query: Callable[[Engine], Result]) -> Result:
    engine = open_database(database_url, statement_timeout_s=CALL_TIMEOUT_S)
    try:
        return query(engine)
    finally:
        # Admin routes are rare: a pool would keep connections open for nothing.
        engine.dispose()
