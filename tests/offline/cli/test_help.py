"""Help, version, completion, the options of `retort serve`, and `--json` of every command that prints a table."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.text import Text
from typer.testing import CliRunner

from retort.offline.cli import main as cli
from tests.serving._graphs import make_bundle

runner = CliRunner()
_TABLES = [
    "models", "status", "recipes", "plan", "compare", "evaluate", "reproduce", "ctr", "run", "refresh status",
    "refresh dead", "data check", "data fetch", "profiles show",
    "experiment staleness", "experiment coldstart", "experiment robustness", "experiment cold-items",
]  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("RETORT_", "REDIS_", "DATABASE_", "HISTORIES_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RETORT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def output(*arguments: str) -> str:
    result = runner.invoke(cli.app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def command(path: str) -> Any:
    found: Any = typer.main.get_command(cli.app)
    for name in path.split():
        found = found.commands[name]
    return found


@pytest.mark.parametrize("arguments", [(), ("run",), ("data",), ("data", "check"), ("refresh", "status"), ("serve",)])
def test_h_is_help_at_every_level(arguments: tuple[str, ...]) -> None:
    assert output(*arguments, "-h") == output(*arguments, "--help")


def test_no_help_loses_words_that_look_like_markup() -> None:
    def texts(of: Any) -> list[str]:
        parts = [of.help or "", *(getattr(param, "help", None) or "" for param in of.params)]
        return [*parts, *(text for each in getattr(of, "commands", {}).values() for text in texts(each))]

    assert [text for text in texts(command("")) if Text.from_markup(text).plain != text] == []


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert output("--version") == f"retort {version('retort-recsys')}\n"


def test_every_command_is_in_a_group_of_the_help() -> None:
    root = command("")
    assert all(isinstance(each.rich_help_panel, str) for each in root.commands.values())
    shown = output("--help")
    assert all(name in shown for name in ("Train and compare", "Publish and serve", "Profiles", "Data and histories"))


def test_shells_complete_commands_and_recipes() -> None:
    def completed(words: str) -> list[str]:
        environment = {"_RETORT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        result = runner.invoke(cli.app, [], env=environment, prog_name="retort")
        return result.stdout.split()

    assert {"rollback", "run", "recipes"} <= set(completed("retort r"))
    assert completed("retort run beauty_sasrec_b") == ["beauty_sasrec_best"]


@pytest.mark.parametrize("path", _TABLES)
def test_every_command_with_a_table_has_json(path: str) -> None:
    assert any("--json" in parameter.opts for parameter in command(path).params)


@pytest.mark.parametrize("arguments", [("models",), ("models", "--changes"), ("status",), ("refresh", "status")])
def test_json_of_an_empty_system_is_an_empty_array(arguments: tuple[str, ...]) -> None:
    assert json.loads(output(*arguments, "--json")) == []


def test_json_has_the_published_bundles(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, seed=1)
    output("publish", str(bundle))
    (published,) = json.loads(output("models", "--json"))
    assert (published["bundle"], published["version"]) == (bundle.name, 1)
    assert json.loads(output("models", "--changes", "--json"))[0]["bundle"] == bundle.name


def test_json_has_the_recipes() -> None:
    listed = json.loads(output("recipes", "--json"))
    assert "demo" in {recipe["recipe"] for recipe in listed}
    assert json.loads(output("recipes", "demo", "--json"))["student"]["name"] == "sasrec"


def test_json_has_every_finding_of_a_data_check(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(
        "user_id,item_id,timestamp\n" + "".join(f"u{n},i1,{n}\n" for n in range(30)) + "u,,5\n"
    )
    (tmp_path / "r.toml").write_text('[data]\nsource = "events"\n[data.options]\ninteractions = "log.csv"\n')
    arguments = ["data", "check", str(tmp_path / "r.toml"), "--data", str(tmp_path), "--json"]
    findings = json.loads(runner.invoke(cli.app, arguments).stdout)
    assert {"severity", "message", "file", "row", "column", "value"} == set(findings[0])


def test_json_has_the_public_data_sets() -> None:
    assert "amazon-beauty-2014" in json.loads(output("data", "fetch", "--json"))


def test_json_has_a_user_s_profile() -> None:
    output("profiles", "edit", "ann", "likes [b]bold[/b] films")
    shown = json.loads(output("profiles", "show", " ann", "--json"))
    assert (shown["text"], shown["choice"]["set_by"], shown["versions"]) == (
        "likes [b]bold[/b] films",
        "command line",
        [],
    )
    assert json.loads(output("profiles", "show", "nobody", "--json"))["text"] is None


def test_options_of_serve_become_the_servers_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[dict[str, str]] = []
    monkeypatch.setattr(os, "execve", lambda program, command, environment: started.append(environment))
    monkeypatch.setenv("RETORT_PORT", "1")
    monkeypatch.setenv("RETORT_BUNDLE", "other")
    output("serve", "--port", "8123", "--host", "127.0.0.2", "--bundle", str(tmp_path), "--workers", "2")
    output("serve", "--alias", "challenger")
    output("serve")
    names = ("RETORT_PORT", "RETORT_HOST", "RETORT_BUNDLE", "RETORT_WORKERS", "RETORT_ALIAS")
    assert [[environment.get(name) for name in names] for environment in started] == [
        ["8123", "127.0.0.2", str(tmp_path), "2", None],
        ["1", None, "null", None, "challenger"],  # unset, also where `.env` names one
        ["1", None, "other", None, None],
    ]


def test_serve_refuses_a_bundle_and_an_alias(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["retort", "serve", "--bundle", "x", "--alias", "y"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "--bundle and --alias exclude each other" in capsys.readouterr().err
