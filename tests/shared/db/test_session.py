"""Both databases behave alike: moments keep their zone, writers wait for each other, mistakes are sentences."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, StatementError

from retort.shared.base.errors import StoreError
from retort.shared.db import migrate
from retort.shared.db.models import Profile
from retort.shared.db.session import open_database, reading, transaction
from tests import postgres


def profile(user_id: str, **given: object) -> Profile:
    return Profile(user_id=user_id, aspect="all", history_hash="h", prompt_version="long-1", model="template", **given)


def test_times_are_read_in_utc(database_url: str) -> None:
    migrate.upgrade(database_url)
    engine = open_database(database_url)
    noon = datetime(2026, 5, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    with transaction(engine) as session:
        session.add(profile("u", created_at=noon, text="likes tea", parameters={"temperature": 0}))
    with reading(engine) as session:
        kept = session.scalars(sa.select(Profile)).one()
    assert kept.created_at == noon
    assert kept.created_at.tzinfo is UTC
    assert kept.parameters == {"temperature": 0}
    engine.dispose()


def test_a_time_without_zone_is_refused(database_url: str) -> None:
    migrate.upgrade(database_url)
    engine = open_database(database_url)
    with pytest.raises(StatementError, match="without a zone"), transaction(engine) as session:
        session.add(profile("u", created_at=datetime(2026, 5, 1)))
    engine.dispose()


def test_one_profile_per_key(database_url: str) -> None:
    migrate.upgrade(database_url)
    engine = open_database(database_url)
    with transaction(engine) as session:
        session.add(profile("u"))
    with pytest.raises(IntegrityError), transaction(engine) as session:
        session.add(profile("u"))
    engine.dispose()


def test_writers_wait_for_each_other(database_url: str) -> None:
    """Each reads, then writes: a deferred SQLite transaction would be refused with `database is locked`."""
    migrate.upgrade(database_url)
    engine = open_database(database_url)

    def write(number: int) -> None:
        with transaction(engine) as session:
            session.scalar(sa.select(sa.func.count(Profile.id)))
            session.add(profile(f"u{number}"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    with reading(engine) as session:
        assert session.scalar(sa.select(sa.func.count(Profile.id))) == 40
    engine.dispose()


def test_many_may_open_a_new_sqlite_file_at_once(tmp_path: Path) -> None:
    """A dozen files, eight first openers each: SQLite refuses the switch to its log without waiting."""

    def create(url: str) -> None:
        engine = open_database(url)
        with transaction(engine) as session:
            session.execute(sa.text("CREATE TABLE IF NOT EXISTS opened (number INTEGER)"))
        engine.dispose()

    with ThreadPoolExecutor(8) as pool:
        for number in range(12):
            list(pool.map(create, [f"sqlite:///{tmp_path}/{number}.db"] * 8))


def test_failed_transaction_leaves_nothing(database_url: str) -> None:
    migrate.upgrade(database_url)
    engine = open_database(database_url)

    def fail_midway() -> None:
        with transaction(engine) as session:
            session.add(profile("u"))
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_midway()
    with reading(engine) as session:
        assert session.scalars(sa.select(Profile)).all() == []
    engine.dispose()


@pytest.mark.parametrize("url", ["not a url", "mysql://host/db"])
def test_a_wrong_address_is_reported(url: str) -> None:
    with pytest.raises(StoreError, match="DATABASE_URL"):
        open_database(url)


def test_an_unreachable_database_is_reported_without_its_password() -> None:
    engine = open_database("postgresql://retort:secret@127.0.0.1:1/none")
    with pytest.raises(StoreError, match=r"127\.0\.0\.1") as caught, reading(engine) as session:
        session.execute(sa.text("select 1"))
    assert "secret" not in str(caught.value)
    engine.dispose()


def test_a_statement_that_waits_for_a_lock_ends_in_time(postgres_server: postgres.Server) -> None:
    with postgres_server.database() as url:
        migrate.upgrade(url)
        holder, waiting = open_database(url), open_database(url, statement_timeout_s=0.2)
        try:
            with transaction(holder) as session:
                session.execute(sa.text("LOCK TABLE events IN ACCESS EXCLUSIVE MODE"))
                with pytest.raises(StoreError, match="statement timeout"), reading(waiting) as blocked:
                    blocked.execute(sa.text("SELECT count(*) FROM events"))
            with reading(waiting) as free:
                assert free.execute(sa.text("SELECT count(*) FROM events")).scalar_one() == 0
            with reading(holder) as other:
                assert other.execute(sa.text("SHOW statement_timeout")).scalar_one() == "0"
        finally:
            holder.dispose()
            waiting.dispose()
