"""The server of the library, of the demo and of quickstart: settings of other servers do not reach it."""

from pathlib import Path

import httpx
import pytest
import redis

from retort.offline.library.server import OWN_SERVER, api_process, store_settings
from retort.offline.local.local_redis import free_port, private_redis
from retort.serving.runtime.settings import ServingSettings
from retort.shared.history import keys
from tests.serving._graphs import make_bundle

# of another server, in the working folder of a command that starts its own
ENV_FILE = """\
RETORT_BUNDLE=none
retort_alias=other
RETORT_KEYS_FILE=none.json
RETORT_EXPERIMENT=none.json
RETORT_TENANTS=["another"]
RETORT_REACHED_AT=shop.example.org
RETORT_HOST=0.0.0.0
RETORT_PORT=9
RETORT_CONSOLE=false
RETORT_METRICS_DIR=none
RETORT_MAX_K=7
"""


def test_settings_of_another_server_in_the_working_folder_do_not_reach_an_own_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text(ENV_FILE)
    for name, value in OWN_SERVER.items():
        monkeypatch.setenv(name, value)
    settings, default = ServingSettings(), ServingSettings(_env_file=None)
    assert settings.max_k == 7, "other settings are those of the folder"
    assert settings.model_copy(update={"max_k": default.max_k, "host": "", "port": 0}) == default.model_copy(
        update={"host": "", "port": 0}
    )
    assert (default.bundle, default.alias, default.keys_file) == (None, "champion", None)


def test_a_local_server_uses_the_given_stores_and_bundle_alone(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle(tmp_path / "bundles")
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text(ENV_FILE)
    (tmp_path / "secret").write_text("redis://127.0.0.1:9")
    with private_redis(tmp_path / "other", persist=False) as other:
        for name, value in {
            "HISTORIES_REDIS_URL": other.url,
            "REDIS_URL_FILE": str(tmp_path / "secret"),
            "RETORT_KEYS_FILE": str(tmp_path / "none.json"),
            "RETORT_EXPERIMENT": str(tmp_path / "none.json"),
            "RETORT_TENANTS": '["another"]',
            "RETORT_REACHED_AT": "shop.example.org",
            "RETORT_HOST": "0.0.0.0",
            "RETORT_PORT": "tcp://10.0.0.1:8000",
            "RETORT_HOME": str(tmp_path),
        }.items():
            monkeypatch.setenv(name, value)
        database = f"sqlite:///{tmp_path / 'own.db'}"
        environment = {**store_settings(redis_url, database), "RETORT_BUNDLE": str(bundle)}
        with api_process(environment, free_port(), tmp_path / "api.log") as (url, _):
            httpx.post(f"{url}/events", json={"user_id": "ann", "item_id": "i1"}, timeout=30).raise_for_status()
            answer = httpx.post(f"{url}/recommend", json={"user_id": "ann", "k": 3}, timeout=30).json()
        assert answer["source"] == "student"
        with redis.Redis.from_url(redis_url) as own, redis.Redis.from_url(other.url) as foreign:
            assert own.exists(keys.history("default", "ann"))
            assert foreign.keys() == []
