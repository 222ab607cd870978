"""`retort items describe` and `items knowledge` as commands: a SIGKILL, the budget, corrections, an export."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from retort.offline.cli.main import app
from retort.shared.base.errors import KnowledgeError, RecipeError
from tests.offline.knowledge._fakes import SHOP_RECIPE, answer_all, lacquers, write_shop
from tests.offline.profiles._server import Answer, FakeServer, completion, serving

N_ITEMS, A_CALL, IN_FLIGHT = 300, 4, 4


@pytest.fixture
def server() -> Iterator[FakeServer]:
    def script(_number: int, body: dict[str, Any]) -> Answer:
        time.sleep(0.02)
        return completion(answer_all(body["messages"]))

    with serving(script) as fake:
        yield fake


@pytest.fixture
def shop_dir(tmp_path: Path) -> Path:
    write_shop(tmp_path / "data", lacquers(N_ITEMS))
    recipe = f"""{SHOP_RECIPE}items_per_call = {A_CALL}
canary = false
[knowledge.options]
model = "m"
concurrency = {IN_FLIGHT}
"""
    (tmp_path / "shop.toml").write_text(recipe)
    return tmp_path


def _arguments(folder: Path, *arguments: str) -> list[str]:
    paths = ("--data", str(folder / "data"), "--out", str(folder / "runs"))
    return [*arguments, str(folder / "shop.toml"), *paths]


def _run(*arguments: str) -> str:
    """What a command says; it must end well."""
    done = CliRunner().invoke(app, ["items", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_killed_description_goes_on_and_the_commands_agree(
    shop_dir: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"OPENAI_BASE_URL": server.url, "RETORT_HOME": str(shop_dir / "home")}.items():
        monkeypatch.setenv(name, value)
    describe = _arguments(shop_dir, "describe")
    assert "300 items in 75 requests of 4" in _run(*describe, "--plan")
    chosen = _run(*describe, "--plan", "--at", "5", "--at", "20")
    assert "in 60 requests of 5" in chosen
    assert "in 15 requests of 20" in chosen
    assert "requests of 4" not in chosen
    assert not server.bodies
    for alone in (("--at", "5"), ("--results", "r.jsonl"), ("--model", "other")):
        with pytest.raises(KnowledgeError, match=f"{alone[0]} requires"):
            _run(*describe, *alone)
    assert not server.bodies

    command = [sys.executable, "-m", "retort.offline.cli", "items", *describe]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline_s = time.monotonic() + 60
    while len(server.bodies) < 25 and first.poll() is None and time.monotonic() < deadline_s:
        time.sleep(0.01)
    first.kill()
    first.wait()
    assert 25 <= len(server.bodies) < 75

    with pytest.raises(KnowledgeError, match=r"\[knowledge.spending\] max_tokens is 100; finished texts are kept"):
        _run(*describe, "--set", "knowledge.spending.max_tokens=100")
    assert "300 of 300 items have a text" in _run(*describe)
    assert 75 <= len(server.bodies) <= 75 + 3 * IN_FLIGHT

    assert "300 of them have an answer already; only 0 are sent" in _run(*describe, "--plan")

    before = len(server.bodies)
    assert (
        _run("knowledge", "correct", "B0007", "--set", "hand made soap") == "the knowledge of B0007 is the given text\n"
    )
    _run("knowledge", "correct", "B0008", "--forbid")
    target = shop_dir / "k.jsonl"
    assert "299 texts are in" in _run("knowledge", *_arguments(shop_dir, "export"), "--to", str(target))
    texts = {row["item_id"]: row for row in map(json.loads, target.read_text().splitlines())}
    assert texts["B0007"]["knowledge"] == "hand made soap"
    assert "B0008" not in texts
    assert texts["B0009"]["source"] == "m"
    assert len(server.bodies) == before
    shown = _run("knowledge", "show", "B0007")
    assert shown.splitlines()[1] == "hand made soap"
    assert "quick drying" in shown
    assert "neither a text nor a correction of 'B9999'" in _run("knowledge", "show", "B9999")
    assert "check its spelling" in _run("knowledge", "correct", "B9999", "--set", "hand made soap")


def test_a_recipe_without_knowledge_says_what_to_add(shop_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETORT_HOME", str(shop_dir / "home"))
    with pytest.raises(RecipeError, match=r"has no .knowledge.; add it"):
        _run(*_arguments(shop_dir, "describe"), "--set", "knowledge.backend=none")
