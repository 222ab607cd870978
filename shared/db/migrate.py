"""Bring a database to this version's tables, and back. Serving never imports this: Alembic is offline's."""

from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from retort.shared.db.session import open_database, transaction

_MIGRATIONS = Path(__file__).parent / "migrations"
# Any number that no other program on the same PostgreSQL uses for its own lock.
_LOCK = 7_239_411_065


def upgrade(database_url: str, revision: str = "head") -> None:
    """Create or change the tables. Safe to call at every start, by several processes at once."""
    _migrate(database_url, lambda config: command.upgrade(config, revision))


def downgrade(database_url: str, revision: str = "base") -> None:
    """Undo migrations down to a revision; `base` removes every table of ours and what is in it."""
    _migrate(database_url, lambda config: command.downgrade(config, revision))


def current(database_url: str) -> str | None:
    """The revision that a database is at, None for an empty one."""
    engine = open_database(database_url)
    try:
        with transaction(engine) as session:
            return MigrationContext.configure(session.connection()).get_current_revision()
    finally:
        engine.dispose()


def head() -> str:
    """The revision that this version of the program wants."""
    revision = ScriptDirectory(str(_MIGRATIONS)).get_current_head()
    assert revision is not None
    return revision


def _migrate(database_url: str, act: Callable[[Config], None]) -> None:
    engine = open_database(database_url)
    try:
        with transaction(engine) as session:
            connection = session.connection()
            if connection.dialect.name == "postgresql":
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            config = Config()
            config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
            config.attributes["connection"] = connection
            act(config)
    finally:
        engine.dispose()
