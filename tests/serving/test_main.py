"""The entry point as a real process."""

import os
import signal
import sys
from pathlib import Path

import httpx
import pytest

from retort.serving import main as entry
from retort.serving.api.auth import Authenticator, Scope, read_keys
from retort.serving.main import add_key, check_binding, main
from retort.serving.runtime.settings import ServingSettings
from retort.shared.base.errors import RetortError
from tests.serving._process import serving_process

HEAVY = ("torch", "transformers", "sentence_transformers", "umap", "vllm", "celery", "pandas", "polars")
BLOCK = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY!r}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Block())
"""


def test_serving_starts_without_heavy_imports(bundle_path: Path, tmp_path: Path) -> None:
    with serving_process(tmp_path, prelude=BLOCK, retort_bundle=bundle_path) as server:
        server.ready()
        answer = httpx.post(f"{server.url}/recommend", json={"history": ["i1"], "k": 3}).json()
        assert answer["source"] == "student"
        assert len(answer["items"]) == 3
    # The server finishes its work and then dies of the signal that it was sent, as a supervisor expects.
    assert server.process.returncode == -signal.SIGTERM
    assert "Application shutdown complete" in (tmp_path / "server.log").read_text()


def test_ctrl_c_ends_with_one_line(bundle_path: Path, tmp_path: Path) -> None:
    prelude = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    with serving_process(tmp_path, prelude=prelude, retort_bundle=bundle_path) as server:
        server.ready()
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(20) == 130
    log = (tmp_path / "server.log").read_text()
    assert "Application shutdown complete" in log
    assert log.endswith("retort-serve: interrupted.\n")
    assert "Traceback" not in log


def test_serving_answers_while_the_database_is_down(bundle_path: Path, tmp_path: Path) -> None:
    nobody = "postgresql://retort@127.0.0.1:1/retort"
    with serving_process(tmp_path, retort_bundle=bundle_path, database_url=nobody) as server:
        server.ready()
        assert httpx.post(f"{server.url}/recommend", json={"history": ["i1"]}).json()["source"] == "student"


def test_two_workers_share_port_and_metrics(bundle_path: Path, tmp_path: Path) -> None:
    with serving_process(tmp_path, retort_bundle=bundle_path, retort_workers=2) as server:
        server.ready()
        for _ in range(8):
            assert httpx.post(f"{server.url}/recommend", json={"history": ["i1"]}).status_code == 200
        text = httpx.get(f"{server.url}/metrics").text
    assert 'retort_answers_total{reason="none",source="student"} 8.0' in text


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"RETORT_BUNDLE": "nowhere"}, "is not a bundle"),
        ({"RETORT_PORT": "x"}, "setting RETORT_PORT is invalid"),
        ({"RETORT_TENANTS": "a,b"}, "setting RETORT_TENANTS is invalid: it must be JSON"),
        ({"RETORT_KEYS_FILE": "."}, ".: Is a directory"),
        ({"LOG_LEVEL": "LOUD"}, "setting LOG_LEVEL cannot be used"),
        ({"RETORT_HOST": "0.0.0.0"}, "no API keys"),
        ({"DATABASE_URL": "blah"}, "DATABASE_URL is not a database address"),
        ({"DATABASE_URL": "postgresql://retort@db:port/retort"}, "DATABASE_URL is not a database address"),
        ({"DATABASE_URL": "mysql://retort@db/retort"}, "PostgreSQL or SQLite"),
        ({"DATABASE_URL": "postgresql+nope://retort@db/retort"}, "the driver 'nope', which is not installed"),
        ({"RETORT_KEYS_FILE": "nowhere.json"}, "does not exist"),
    ],
)
def test_an_invalid_setting_ends_with_one_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: dict[str, str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["retort-serve"])
    # The real entry point in this process; logging stays as pytest has set it.
    monkeypatch.setattr("retort.serving.main.configure_logging", lambda *_, **__: None)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    "link", ["tcp://10.0.0.1:8000", "udp://10.0.0.1:53", "tcp://[fd00::1]:8000", "sctp://10.96.0.1:1"]
)
def test_a_service_link_of_the_cluster_is_no_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, link: str
) -> None:
    (tmp_path / ".env").write_text("RETORT_PORT=9000\n")
    names = ("PORT", "HOST", "WORKERS", "THREADS", "ALIAS", "REACHED_AT", "KEYS_FILE", "BUNDLE")
    for name in names:
        monkeypatch.setenv(f"RETORT_{name}", link)
    defaults = ServingSettings(_env_file=None, port=1)
    assert [getattr(defaults, name.lower()) for name in names] == [1, "127.0.0.1", 1, 1, "champion", None, None, None]
    assert ServingSettings(_env_file=tmp_path / ".env").port == 9000


def test_a_port_that_is_no_service_link_is_still_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("8000/tcp", "http://10.0.0.1:8000", "tcp://"):
        monkeypatch.setenv("RETORT_PORT", value)
        with pytest.raises(ValueError, match="port"):
            ServingSettings(_env_file=None)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_loopback_requires_no_keys(host: str) -> None:
    check_binding(ServingSettings(_env_file=None, host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org"])
def test_other_addresses_require_keys(host: str) -> None:
    with pytest.raises(RetortError, match="RETORT_KEYS_FILE"):
        check_binding(ServingSettings(_env_file=None, host=host))


def test_the_address_before_a_container_decides_whether_keys_are_required() -> None:
    check_binding(ServingSettings(_env_file=None, host="0.0.0.0", reached_at="127.0.0.1"))
    with pytest.raises(RetortError, match=r"RETORT_REACHED_AT=0\.0\.0\.0 is reachable"):
        check_binding(ServingSettings(_env_file=None, host="127.0.0.1", reached_at="0.0.0.0"))


def test_a_created_key_is_shown_once_and_authenticates(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    keys = [add_key(file, name, ["read"], "default") for name in ("app", "job")]
    assert keys[0] != keys[1]
    assert file.stat().st_mode & 0o077 == 0, "nobody else reads it"
    authenticator = Authenticator(read_keys(file))
    assert authenticator.require_scope({b"x-api-key": keys[1].encode()}, Scope.READ).name == "job"
    with pytest.raises(RetortError, match="another name"):
        add_key(file, "app", ["read"], "default")


def test_options_win_over_the_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = ("RETORT_PORT", "RETORT_HOST", "RETORT_BUNDLE", "RETORT_WORKERS", "RETORT_ALIAS")
    started: list[list[object]] = []

    def record(settings: object, serving: ServingSettings) -> None:
        started.append(
            [serving.port, serving.host, serving.bundle and str(serving.bundle), serving.workers, serving.alias]
        )

    monkeypatch.setattr(entry, "serve", record)
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("RETORT_BUNDLE=of-the-folder\nRETORT_ALIAS=of-the-folder\n")
    for arguments in (
        ["--port", "8123", "--host", "127.0.0.2", "--bundle", "b", "--workers", "2"],
        ["--alias", "challenger"],
        [],
    ):
        with monkeypatch.context() as process:
            environment = {name: value for name, value in os.environ.items() if name not in names}
            process.setattr(os, "environ", {**environment, "RETORT_PORT": "1", "RETORT_BUNDLE": "other"})
            process.setattr(sys, "argv", ["retort-serve", *arguments])
            main()
    assert started == [
        [8123, "127.0.0.2", "b", 2, "of-the-folder"],
        [1, "127.0.0.1", None, 1, "challenger"],
        [1, "127.0.0.1", "other", 1, "of-the-folder"],
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(["--port", "x"], "--port"), (["--port", "99999"], "RETORT_PORT"), (["--bundle", "a", "--alias", "b"], "exclude")],
)
def test_wrong_options_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["retort-serve", *arguments])
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err
