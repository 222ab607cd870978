"""The fixtures hand out real servers: what passes here passes in production."""

import redis
import sqlalchemy as sa


def test_redis_is_real_and_empty(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        assert "redis_version" in client.info("server")
        client.set("left", "over")


def test_database_answers_in_its_own_dialect(database_url: str) -> None:
    engine = sa.create_engine(database_url)
    with engine.connect() as connection:
        assert connection.execute(sa.text("select 1")).scalar() == 1
        if engine.dialect.name == "postgresql":
            assert "PostgreSQL" in str(connection.execute(sa.text("select version()")).scalar())
    engine.dispose()
