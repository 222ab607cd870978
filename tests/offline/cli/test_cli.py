"""Wrong use of the command line: one sentence with the remedy, an exit status, and no traceback."""

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from retort.offline.cli import main as cli

# Arguments → status and what was written to standard error.
Retort = Callable[..., tuple[int, str]]


@pytest.fixture
def retort(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Retort]:
    """The command as it is typed, in an empty directory; its log does not outlive the test's standard error."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RETORT_HOME", str(tmp_path / "home"))
    for name in ("REDIS_URL", "HISTORIES_REDIS_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)

    def act(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["retort", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        assert isinstance(left.value.code, int)
        message = " ".join(capsys.readouterr().err.split())
        assert "Traceback" not in message
        return left.value.code, message

    yield act
    root.handlers[:], root.level = handlers, level


def test_an_unknown_recipe_is_reported_with_similar_names(retort: Retort) -> None:
    status, message = retort("run", "ml1m_sasrec_profil")
    assert status == 2
    assert "no recipe 'ml1m_sasrec_profil'" in message
    assert "ml1m_sasrec_profile" in message
    assert "`retort recipes`" in message
    assert "llmkt_ml1m_neumf" not in message, "not all of them"


@pytest.mark.parametrize("reference", ["shop.toml", "no/where/shop.toml", "/", "", "/etc/passwd"])
def test_a_missing_recipe_file_is_reported(retort: Retort, reference: str) -> None:
    status, message = retort("run", reference)
    assert status == 2
    assert message.startswith("retort: there is no recipe")


def test_a_file_in_the_path_of_the_run_directory_is_reported(retort: Retort, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    status, message = retort("run", "demo", "--out", tmp_path / "taken" / "runs")
    assert status == 2
    assert "taken" in message
    assert "run the same command again" in message


@pytest.mark.parametrize("command", [("data", "check"), ("run",)])
def test_a_file_as_the_data_directory_is_reported(retort: Retort, tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "raw").mkdir()
    file = tmp_path / "raw" / "ratings.dat"
    file.write_text("")
    status, message = retort(*command, "ml1m_sasrec_plain", "--data", file)
    assert status == 2
    assert f"ratings.dat is a file; write --data {file.parent} instead" in message


def test_an_invalid_bundle_is_reported(retort: Retort, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for wrong in ("nowhere", "file", "."):
        status, message = retort("publish", wrong)
        assert status == 2
        assert "is not a bundle" in message


def test_an_invalid_setting_is_reported_with_its_name(retort: Retort, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HISTORY_LENGTH", "many")
    status, message = retort("models")
    assert status == 2
    assert message.startswith("retort: the setting HISTORY_LENGTH cannot be used")
    assert ".env" in message


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("LOG_LEVEL", "LOUD", "'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ("DATABASE_URL", "sqlite:///text", "not an SQLite database"),
        ("DATABASE_URL", "blah", "is not a database address"),
    ],
)
def test_an_invalid_database_or_log_level_is_reported(
    retort: Retort, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, remedy: str
) -> None:
    (tmp_path / "text").write_text("no database, but long enough to look like one" * 3)
    monkeypatch.setenv(name, value)
    status, message = retort("models")
    assert status == 2
    assert name in message
    assert remedy in message


def test_an_invalid_experiment_is_reported(retort: Retort, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text('extends = "demo"')
    assert "requires the key 'base'" in retort("experiment", "run", "recipe.toml")[1]
    assert "holds no experiment" in retort("experiment", "report", tmp_path)[1]


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ([], "this source reads files; name their directory with --data DIR."),
        (["--data", "empty"], "empty contains none of: "),
        (["--data", "nowhere"], "nowhere does not exist; name an existing one with --data DIR."),
    ],
)
def test_an_experiment_without_data_fails_once_and_starts_no_unit(
    retort: Retort, tmp_path: Path, where: list[str], sentence: str
) -> None:
    (tmp_path / "empty").mkdir()
    status, message = retort("experiment", "run", "ml100k_smoke", *where)
    assert status == 2
    assert sentence in message
    assert message.count(sentence) == 1
    assert "unit" not in message
    assert not list((tmp_path / "runs").rglob("*.log"))
    assert not list((tmp_path / "runs").rglob("train-*"))


def test_an_address_of_another_machine_is_reported(retort: Retort) -> None:
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    status, message = retort("metrics", "--host", "192.0.2.1")
    for number, handler in kept.items():
        signal.signal(number, handler)
    assert status == 2
    assert "192.0.2.1:9108 cannot be bound" in message


@pytest.mark.parametrize("url", ["blah", "127.0.0.1:6379"])
def test_an_invalid_redis_url_is_reported(retort: Retort, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    status, message = retort("events", "drain")
    assert status == 2
    assert "is not a Redis address" in message


def test_files_that_cannot_be_compared_are_reported(retort: Retort, tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("user_id,rank")
    pl.DataFrame({"user_id": ["ann"]}).write_parquet(tmp_path / "no_ranks.parquet")
    pl.DataFrame({"user_id": ["ann"], "rank": [1]}).write_parquet(tmp_path / "good.parquet")
    assert "no readable Parquet" in retort("compare", "text.parquet", "--with", "good.parquet")[1]
    status, message = retort("compare", "good.parquet", "--with", "no_ranks.parquet")
    assert status == 2
    assert "no column 'rank'" in message
    assert "is no metric" in retort("compare", "good.parquet", "--with", "good.parquet", "--metric", "foo")[1]


def test_recommend_refuses_a_directory_as_output_file(retort: Retort, tmp_path: Path) -> None:
    pl.DataFrame({"user_id": ["ann"]}).write_parquet(tmp_path / "users.parquet")
    status, message = retort("recommend", "--users", "users.parquet", "--out", tmp_path)
    assert status == 2
    assert "is a directory" in message


def test_an_interruption_reports_how_to_resume(retort: Retort, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*, as_json: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("retort.offline.cli.bundles.list_models", interrupted)
    status, message = retort("models")
    assert status == 130
    assert "interrupted" in message
    assert "the same command" in message
