"""Themes in Redis: few, short, replaced as a whole, expiring."""

import orjson
import pytest
import redis

from retort.shared.base.errors import StoreError
from retort.shared.history import keys
from retort.shared.history.themes import MAX_THEMES, MAX_WORD_CHARS, Theme, read_themes, write_themes


def test_themes_are_few_short_and_replaced(redis_url: str) -> None:
    many = [Theme("genre", f"g{n}") for n in range(20)]
    long = Theme("genre", "x" * 2 * MAX_WORD_CHARS)
    assert write_themes(redis_url, [("ann", [long, *many]), ("bob", many[:1]), ("eve", [])], ttl_s=60) == 2
    with redis.Redis.from_url(redis_url) as client:
        assert read_themes(client.get(keys.themes("default", "ann"))) == tuple(many[:MAX_THEMES])
        assert 0 < client.ttl(keys.themes("default", "ann")) <= 60
        write_themes(redis_url, [("ann", many[3:4]), ("bob", [])], ttl_s=60, tenant="default")
        assert read_themes(client.get(keys.themes("default", "ann"))) == (many[3],)
        assert client.keys("retort:t:*") == [keys.themes("default", "ann").encode()]


@pytest.mark.parametrize("raw", [None, b"", b"{}", b"no json", b"[1]", orjson.dumps([["genre"], ["a", 1], "ab"])])
def test_what_is_no_theme_is_left_out(raw: bytes | None) -> None:
    assert read_themes(raw) == ()


def test_an_unavailable_redis_is_reported() -> None:
    with pytest.raises(StoreError, match="REDIS_URL"):
        write_themes("redis://127.0.0.1:1", [("ann", [])], ttl_s=60)
