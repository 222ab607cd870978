"""Migrations build the tables of the models, and undo them."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from retort.shared.base.errors import StoreError
from retort.shared.db import migrate
from retort.shared.db.models import Base, Profile
from retort.shared.db.session import open_database, reading


def tables(url: str) -> set[str]:
    engine = open_database(url)
    names = set(sa.inspect(engine).get_table_names())
    engine.dispose()
    return names - {"alembic_version"}


def test_up_down_up(database_url: str) -> None:
    assert migrate.current(database_url) is None
    migrate.upgrade(database_url)
    assert migrate.current(database_url) == migrate.head()
    assert tables(database_url) == set(Base.metadata.tables)
    migrate.upgrade(database_url)
    migrate.downgrade(database_url)
    assert tables(database_url) == set()
    migrate.upgrade(database_url)
    assert tables(database_url) == set(Base.metadata.tables)


def test_migrations_and_models_agree(database_url: str) -> None:
    migrate.upgrade(database_url)
    engine = open_database(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_several_processes_may_upgrade_at_once(database_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate.upgrade, [database_url] * 4))
    assert migrate.current(database_url) == migrate.head()


def test_missing_tables_are_reported_with_the_remedy(database_url: str) -> None:
    engine = open_database(database_url)
    with pytest.raises(StoreError, match="retort db upgrade"), reading(engine) as session:
        session.scalars(sa.select(Profile)).all()
    engine.dispose()
