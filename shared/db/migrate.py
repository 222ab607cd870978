"""Schema migrations by Alembic. Only the offline side imports this module.

Alembic takes a fifth of a second to import, so a database that is up to date is recognised without it.
"""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from retort.shared.db.session import open_database, transaction

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATIONS = Path(__file__).parent / "migrations"
# Key of an advisory lock; no other program on the same PostgreSQL may use it.
_LOCK = 7_239_411_065


def upgrade(database_url: str, revision: str = "head") -> None:
    """Create or migrate the tables. Several processes may call it at once, at every start."""
    if revision == "head" and current(database_url) == head():
        return
    from alembic import command

    _migrate(database_url, lambda config: command.upgrade(config, revision))


def downgrade(database_url: str, revision: str = "base") -> None:
    """Undo migrations down to a revision; `base` drops all tables with their rows."""
    from alembic import command

    _migrate(database_url, lambda config: command.downgrade(config, revision))


def current(database_url: str) -> str | None:
    """Return the revision of a database; None if it is empty."""
    engine = open_database(database_url)
    try:
        with transaction(engine) as session:
            if not sa.inspect(session.connection()).has_table("alembic_version"):
                return None
            revision: str | None = session.scalar(sa.text("SELECT version_num FROM alembic_version"))
            return revision
    finally:
        engine.dispose()


@cache
def head() -> str:
    """Return the revision that this version of the program requires: the one that no other follows."""
    texts = [path.read_text(encoding="utf-8") for path in (_MIGRATIONS / "versions").glob("r*.py")]
    revisions, earlier = (
        {match[1] for text in texts if (match := re.search(rf'^{name} = "(\w+)"$', text, re.MULTILINE))}
        for name in ("revision", "down_revision")
    )
    (newest,) = revisions - earlier
    return newest


def _migrate(database_url: str, run: Callable[["Config"], None]) -> None:
    from alembic.config import Config

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
