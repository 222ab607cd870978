"""`retort items describe` and `items knowledge` as commands: a SIGKILL, the budget, corrections, an export."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.offline.knowledge._fakes import answer_all
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
    data = tmp_path / "data"
    data.mkdir()
    events = [f"u{user},B{item:04d},{item}" for user in range(3) for item in range(N_ITEMS)]
    (data / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(events) + "\n")
    rows = [f"B{item:04d},Essie Wonder{item} Nail Lacquer,Essie" for item in range(N_ITEMS)]
    (data / "items.csv").write_text("item_id,title,brand\n" + "\n".join(rows) + "\n")
    recipe = f"""
[data]
source = "table"
[data.options]
items = "items.csv"
position = "timestamp"
[knowledge]
backend = "openai"
domain = "products"
items_per_call = {A_CALL}
canary = false
[knowledge.options]
model = "m"
concurrency = {IN_FLIGHT}
"""
    (tmp_path / "shop.toml").write_text(recipe)
    return tmp_path


def _command(folder: Path, url: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    environment = os.environ | {"OPENAI_BASE_URL": url, "RETORT_HOME": str(folder / "home"), "OPENAI_API_KEY": "k"}
    return [sys.executable, "-m", "retort.offline.cli", "items", *arguments], environment


def _run(folder: Path, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command, environment = _command(folder, url, *arguments)
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120)


def test_a_killed_description_goes_on_and_the_commands_agree(shop_dir: Path, server: FakeServer) -> None:
    describe = ("describe", "shop.toml", "--data", "data", "--out", "runs")
    plan = _run(shop_dir, server.url, *describe, "--plan")
    assert "300 items in 75 requests of 4" in plan.stdout + plan.stderr
    assert not server.bodies

    command, environment = _command(shop_dir, server.url, *describe)
    first = subprocess.Popen(
        command, env=environment, cwd=shop_dir, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline_s = time.monotonic() + 60
    while len(server.bodies) < 25 and first.poll() is None and time.monotonic() < deadline_s:
        time.sleep(0.01)
    first.kill()
    first.wait()
    asked = len(server.bodies)
    assert 25 <= asked < 75

    stopped = _run(shop_dir, server.url, *describe, "--set", "knowledge.spending.max_tokens=100")
    assert stopped.returncode == 2
    assert "[knowledge.spending] max_tokens is 100; finished texts are kept" in stopped.stderr

    second = _run(shop_dir, server.url, *describe)
    assert second.returncode == 0, second.stderr
    assert "300 of 300 items have a text" in second.stdout + second.stderr
    assert 75 <= len(server.bodies) <= 75 + 3 * IN_FLIGHT

    before = len(server.bodies)
    corrected = _run(shop_dir, server.url, "knowledge", "correct", "B0007", "--set", "hand made soap")
    assert corrected.stdout == "the knowledge of B0007 is the given text\n"
    forbidden = _run(shop_dir, server.url, "knowledge", "correct", "B0008", "--forbid")
    assert forbidden.returncode == 0, forbidden.stderr
    export = _run(
        shop_dir, server.url, "knowledge", "export", "shop.toml", "--data", "data", "--out", "runs", "--to", "k.jsonl"
    )
    assert "299 texts are in k.jsonl" in export.stdout
    texts = {row["item_id"]: row for row in map(json.loads, (shop_dir / "k.jsonl").read_text().splitlines())}
    assert texts["B0007"]["knowledge"] == "hand made soap"
    assert "B0008" not in texts
    assert texts["B0009"]["source"] == "m"
    assert len(server.bodies) == before
    shown = _run(shop_dir, server.url, "knowledge", "show", "B0007")
    assert shown.stdout.splitlines()[1] == "hand made soap"
    assert "quick drying" in shown.stdout


def test_a_recipe_without_knowledge_says_what_to_add(shop_dir: Path, server: FakeServer) -> None:
    done = _run(shop_dir, server.url, "describe", "shop.toml", "--data", "data", "--set", "knowledge.backend=none")
    assert done.returncode == 2
    assert "has no [knowledge]; add it" in done.stderr
