"""`retort doctor`: what works is ok, what will fail is named with its remedy and exit status 1."""

import json
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from retort.offline.cli.doctor import Finding, examine
from retort.offline.cli.main import app
from retort.shared.base.settings import Settings
from retort.shared.db import migrate


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("REDIS_URL", "HISTORIES_REDIS_URL", "DATABASE_URL", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RETORT_HOME", str(tmp_path / "home"))


def found(recipe: str | None = None, port: int = 8000) -> dict[str, Finding]:
    return {finding.what: finding for finding in examine(Settings(), recipe, port)}


def test_an_empty_machine_works_with_notes() -> None:
    findings = found("demo")
    assert not [finding for finding in findings.values() if finding.verdict == "fails"]
    assert findings["redis"].verdict == "note"
    assert "Set REDIS_URL" in findings["redis"].remedy
    assert findings["database"].verdict == findings["disk"].verdict == findings["encoder"].verdict == "ok"


def test_a_redis_that_answers_is_ok_and_its_clock_agrees(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    findings = found()
    assert (findings["redis"].verdict, findings["clock"].verdict) == ("ok", "ok")


def test_an_unavailable_redis_and_language_model_fail_with_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:a-secret@127.0.0.1:9/0")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    done = CliRunner().invoke(app, ["doctor", "--json"])
    assert done.exit_code == 1
    failed = {one["what"]: one for one in json.loads(done.stdout) if one["verdict"] == "fails"}
    assert set(failed) == {"redis", "language model"}
    assert all(one["remedy"] for one in failed.values())
    assert "a-secret" not in done.stdout


def test_tables_of_an_older_version_fail_until_they_are_upgraded() -> None:
    Settings().retort_home.mkdir()
    migrate.upgrade(Settings().database)
    assert found()["database"].verdict == "ok"
    migrate.downgrade(Settings().database, "-1")
    assert (found()["database"].verdict, found()["database"].remedy) == ("fails", "Run `retort db upgrade`.")


def test_a_taken_port_is_noted() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert found(port=listener.getsockname()[1])["port"].verdict == "note"


def test_an_unknown_encoder_and_a_wrong_recipe_fail(tmp_path: Path) -> None:
    recipe = tmp_path / "shop.toml"
    recipe.write_text('extends = "demo"\n[encoder]\nmodel = "./no-such-folder"\n')
    assert "no-such-folder" in next(f.sentence for f in examine(Settings(), str(recipe)) if f.verdict == "fails")
    recipe.write_text("nonsense = 1\n")
    assert found(str(recipe))["recipe"].verdict == "fails"


@pytest.mark.parametrize(
    ("variable", "value", "what", "sentence"),
    [
        ("DATABASE_URL", "garbage", "database", "DATABASE_URL is not a database address"),
        ("DATABASE_URL", "postgresql://h:port/x", "database", "DATABASE_URL is not a database address"),
        (
            "OPENAI_BASE_URL",
            "http://[::1",
            "language model",
            "OPENAI_BASE_URL cannot be used: write an address",
        ),
        ("OPENAI_BASE_URL", "localhost:8000", "language model", "OPENAI_BASE_URL cannot be used: write an address"),
        ("OPENAI_API_KEY", "ключ", "language model", "OPENAI_API_KEY cannot be used: a key has ASCII characters only"),
        ("OPENAI_API_KEY", "two\nlines", "language model", "OPENAI_API_KEY cannot be used: a key has ASCII"),
        ("RETORT_HOME", "a_file", "disk", "a_file is a file."),
        ("REDIS_URL", "localhost:6379", "redis", "is not a Redis address"),
    ],
)
def test_a_setting_that_cannot_work_is_a_finding_and_no_traceback(
    variable: str, value: str, what: str, sentence: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_file").touch()
    monkeypatch.setenv(variable, value)
    finding = found()[what]
    assert finding.verdict == "fails"
    assert sentence in finding.sentence
    assert "secret" not in finding.sentence


def test_a_check_that_breaks_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: 1 / 0)
    assert (found()["gpu"].verdict, found()["gpu"].sentence) == (
        "fails",
        "the check ended with ZeroDivisionError: division by zero.",
    )


def test_the_address_of_histories_is_enough() -> None:
    settings = Settings(histories_redis_url="redis://127.0.0.1:9/0")
    notes = [one for one in examine(settings) if one.what == "redis" and one.verdict == "note"]
    assert [one.remedy for one in notes] == [""]
