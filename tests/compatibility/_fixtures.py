"""The files that an earlier commit wrote, loaded into today's stores."""

import base64
import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis
import sqlalchemy as sa

from retort.shared.db.migrate import upgrade

BEFORE_ROOMS = Path(__file__).parent / "before_rooms"
BUNDLE = BEFORE_ROOMS / "bundle"
REVISION = "r0004"
# Stands in the database for the folder that the files were made in.
_PLACE = "/srv/retort"


def read_json(name: str) -> Any:
    return json.loads((BEFORE_ROOMS / name).read_text(encoding="utf-8"))


def load_redis(url: str) -> None:
    """Fill an empty Redis."""
    with redis.Redis.from_url(url) as client:
        for command in read_json("redis.json"):
            client.execute_command(*map(base64.b64decode, command))


def load_database(url: str, folder: Path) -> None:
    """Fill an empty database, at the earlier commit's revision. Its paths lead into the folder."""
    dump = (BEFORE_ROOMS / "database.sql").read_text(encoding="utf-8").replace(_PLACE, str(folder))
    if url.startswith("sqlite"):
        _run(dump, url.removeprefix("sqlite:///"))
        return
    _run(dump, str(folder / "copied.db"))
    upgrade(url, REVISION)
    source, target = sa.create_engine(f"sqlite:///{folder / 'copied.db'}"), sa.create_engine(url)
    _copy(source, target)
    source.dispose()
    target.dispose()


def _run(dump: str, path: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(dump)
    connection.close()


def _copy(source: sa.Engine, target: sa.Engine) -> None:
    """Copy all rows of SQLite to PostgreSQL, and set the counters of the ids behind them."""
    tables = sa.MetaData()
    tables.reflect(target)
    with source.connect() as read, target.begin() as write:
        for table in tables.sorted_tables:
            if table.name == "alembic_version":
                continue
            rows = [dict(row) for row in read.exec_driver_sql(f"SELECT * FROM {table.name}").mappings()]
            for row in rows:
                row.update({name: _value(table.c[name].type, value) for name, value in row.items()})
            if rows:
                write.execute(table.insert(), rows)
            if "id" in table.c and isinstance(table.c.id.type, sa.Integer):
                counter = sa.func.pg_get_serial_sequence(table.name, "id")
                write.execute(sa.select(sa.func.setval(counter, sa.select(sa.func.max(table.c.id)).scalar_subquery())))


def _value(kind: sa.types.TypeEngine[Any], value: Any) -> Any:
    """A value as SQLite keeps it, for a column of PostgreSQL."""
    if value is None:
        return None
    if isinstance(kind, sa.JSON):
        return json.loads(value)
    if isinstance(kind, sa.DateTime):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return bool(value) if isinstance(kind, sa.Boolean) else value
