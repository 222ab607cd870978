"""Private Redis of a machine without servers: found, reported, shared, and ended with its owner."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from retort.offline.local import local_redis as embedded
from retort.offline.local.local_redis import is_available, private_redis, redis_service
from retort.shared.base.errors import StoreError


def test_the_private_server_requires_its_password(tmp_path: Path) -> None:
    with private_redis(tmp_path) as service:
        assert is_available(service.url)
        port = service.url.rpartition(":")[2]
        assert not is_available(f"redis://127.0.0.1:{port}")
        assert "private server on port" in service.description
        assert (tmp_path / "server.conf").stat().st_mode & 0o077 == 0
    assert not is_available(service.url)


def test_private_server_keeps_its_data(tmp_path: Path) -> None:
    with private_redis(tmp_path) as service, redis.Redis.from_url(service.url) as client:
        client.set("kept", "yes")
    with private_redis(tmp_path) as service, redis.Redis.from_url(service.url) as client:
        assert client.get("kept") == b"yes"


def test_second_process_of_one_home_shares_the_server(tmp_path: Path) -> None:
    with redis_service(None, tmp_path) as first, redis_service(None, tmp_path) as second:
        assert first.url == second.url
        assert "another retort process" in second.description


def test_given_url_is_used_and_its_password_not_shown(redis_url: str, tmp_path: Path) -> None:
    with redis_service(redis_url, tmp_path) as service:
        assert service.url == redis_url
        assert "REDIS_URL" in service.description
        assert redis_url.split("@")[0].split(":")[-1] not in service.description


def test_dead_redis_url_is_reported_with_the_remedy(tmp_path: Path) -> None:
    with (
        pytest.raises(StoreError, match="unset REDIS_URL"),
        redis_service(f"redis://127.0.0.1:{embedded.free_port()}", tmp_path),
    ):
        pass


def test_the_variable_that_named_the_redis_is_reported(redis_url: str, tmp_path: Path) -> None:
    with redis_service(redis_url, tmp_path, "HISTORIES_REDIS_URL") as service:
        assert service.description.endswith("(HISTORIES_REDIS_URL)")
    with (
        pytest.raises(StoreError, match="unset HISTORIES_REDIS_URL"),
        redis_service(f"redis://127.0.0.1:{embedded.free_port()}", tmp_path, "HISTORIES_REDIS_URL"),
    ):
        pass


def test_an_invalid_redis_url_is_reported_without_its_password(tmp_path: Path) -> None:
    for wrong in ("blah", "127.0.0.1:6379", "http://:secret@host/0", "redis://:secret@host:port/0"):
        with pytest.raises(StoreError, match="redis://") as told, redis_service(wrong, tmp_path):
            pass
        assert "secret" not in str(told.value)


def test_fakeredis_serves_where_no_server_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "redis_binary", lambda: None)
    with private_redis(tmp_path) as service, redis.Redis.from_url(service.url) as client:
        assert "fakeredis" in service.description
        client.set("a", 1)
        assert client.get("a") == b"1"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals a parent's death to its child")
def test_the_private_server_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from retort.offline.local.local_redis import private_redis\n"
        f"with private_redis(Path({str(tmp_path)!r})) as service: print(service.url, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        assert is_available(url)
        os.kill(parent.pid, signal.SIGKILL)
    end = time.monotonic() + 5
    while is_available(url):
        assert time.monotonic() < end, "the server outlived its parent"
        time.sleep(0.05)
