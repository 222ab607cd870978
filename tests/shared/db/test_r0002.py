"""The second migration keeps profiles and hashes their parameters; the downgrade keeps one profile per old key."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from retort.shared.base.hashing import hash_json
from retort.shared.db import migrate
from retort.shared.db.session import open_database, transaction

INSERT = sa.text(
    "INSERT INTO profiles (tenant, user_id, aspect, history_hash, prompt_version, model, parameters, created_at,"
    " status) VALUES ('t', :user_id, 'whole', 'h', 'p', 'm', :parameters, '2026-05-01 12:00:00+00', 'done')"
)


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    migrate.upgrade(database_url, "r0001")
    engine = open_database(database_url)
    yield engine
    engine.dispose()


def test_profiles_of_the_first_version_are_kept_and_their_parameters_hashed(
    engine: sa.Engine, database_url: str
) -> None:
    with transaction(engine) as session:
        session.execute(INSERT, {"user_id": "a", "parameters": '{"temperature": 0.7}'})
        session.execute(INSERT, {"user_id": "b", "parameters": "{}"})
    migrate.upgrade(database_url)
    with transaction(engine) as session:
        rows = session.execute(sa.text("SELECT user_id, parameters_hash FROM profiles ORDER BY user_id")).all()
        assert [tuple(row) for row in rows] == [("a", hash_json({"temperature": 0.7})), ("b", hash_json({}))]
        copy = "INSERT INTO profiles (tenant, user_id, aspect, history_hash, prompt_version, model, parameters, \
            parameters_hash, text, created_at, status) VALUES ('t', 'a', 'whole', 'h', 'p', 'm', '{}', 'other', \
            'the latest', '2026-05-02 12:00:00+00', 'done')"
        session.execute(sa.text(copy))
    migrate.downgrade(database_url, "r0001")
    with transaction(engine) as session:
        rows = session.execute(sa.text("SELECT user_id, text FROM profiles ORDER BY user_id")).all()
    assert [tuple(row) for row in rows] == [("a", "the latest"), ("b", None)]
