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
