"""Schema migrations by Alembic. Only the offline side imports this module."""

from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from retort.shared.db.session import open_database, transaction

_MIGRATIONS = Path(__file__).parent / "migrations"
# Key of an advisory lock; no other program on the same PostgreSQL may use it.
_LOCK = 7_239_411_065


def upgrade(database_url: str, revision: str = "head") -> None:
    """Create or migrate the tables. Several processes may call it at once, at every start."""
    _migrate(database_url, lambda config: command.upgrade(config, revision))


def downgrade(database_url: str, revision: str = "base") -> None:
    """Undo migrations down to a revision; `base` drops all tables with their rows."""
    _migrate(database_url, lambda config: command.downgrade(config, revision))


def current(database_url: str) -> str | None:
    """Return the revision of a database; None if it is empty."""
    engine = open_database(database_url)
    try:
        with transaction(engine) as session:
            return MigrationContext.configure(session.connection()).get_current_revision()
    finally:
        engine.dispose()


def head() -> str:
    """Return the revision that this version of the program requires."""
    revision = ScriptDirectory(str(_MIGRATIONS)).get_current_head()
    assert revision is not None
    return revision


def _migrate(database_url: str, run: Callable[[Config], None]) -> None:
    engine = open_database(database_url)
    try:
        with transaction(engine) as session:
            connection = session.connection()
            if connection.dialect.name == "postgresql":
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            config = Config()
            config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
            config.attributes["connection"] = connection
            run(config)
    finally:
        engine.dispose()
