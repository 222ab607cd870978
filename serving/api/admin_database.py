"""Asking the database for an admin route: in a thread, on an engine of its own, and never for /recommend."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Engine

from retort.serving.runtime.database import database_exists
from retort.serving.schemas.problems import Problem
from retort.shared.base.errors import StoreError
from retort.shared.db.session import open_database

Answer = TypeVar("Answer")


async def ask_database(database_url: str, ask: Callable[[Engine], Answer]) -> Answer:
    """What `ask` returns. A Problem 503 where there is no database, or it does not answer."""
    if not database_exists(database_url):
        raise Problem(503, "There is no database yet; run `retort` once, or set DATABASE_URL to where it is.")
    try:
        return await asyncio.to_thread(_ask, database_url, ask)
    except StoreError as error:
        raise Problem(503, "The database does not answer; try again shortly.", headers={"retry-after": "2"}) from error


def _ask(database_url: str, ask: Callable[[Engine], Answer]) -> Answer:
    engine = open_database(database_url)
    try:
        return ask(engine)
    finally:
        # admin routes are rare: a pool that waits for the next one would hold connections for nothing
        engine.dispose()
