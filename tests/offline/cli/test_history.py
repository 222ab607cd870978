"""`retort history load` writes where a server reads, or refuses."""

from pathlib import Path

import pytest

from retort.offline.cli.data import load_history
from retort.offline.local import local_redis
from retort.shared.base.errors import StoreError


def test_histories_are_not_loaded_where_no_server_would_find_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("REDIS_URL", "HISTORIES_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RETORT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(local_redis, "private_redis", lambda *_: pytest.fail("a private Redis was started"))
    with pytest.raises(StoreError, match=r"set REDIS_URL .* for this command and for `retort serve`"):
        load_history("demo", None, tmp_path / "runs", [])
    assert not (tmp_path / "runs").exists(), "refused before any work"


def test_a_redis_that_is_down_is_found_before_the_data_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", "redis://:secret@127.0.0.1:1")
    monkeypatch.setenv("RETORT_HOME", str(tmp_path / "home"))
    with pytest.raises(StoreError) as refused:
        load_history("demo", None, tmp_path / "runs", [])
    assert str(refused.value).endswith("; start that Redis, or correct the address.")
    assert "secret" not in str(refused.value)
    assert not (tmp_path / "runs").exists(), "refused before any work"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"url": 7}', "\0"])
def test_a_damaged_address_of_a_private_redis_is_no_address(tmp_path: Path, content: str) -> None:
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "address.json").write_text(content)
    assert local_redis.running_redis(tmp_path) is None
