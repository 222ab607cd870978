"""The whole line by its own commands: a recipe is run, its bundle published and served, and the server answers what was
measured offline. Each command is a process of its own, as a person would start it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
import redis

from retort.offline.local.local_redis import free_port
from retort.offline.local.subprocesses import Child, start_child
from retort.shared.model.bundle import open_bundle

_RECIPE = str(Path(__file__).parent.parent / "tiny.toml")
_READY_S = 60.0


@dataclass(frozen=True)
class World:
    """Where everything of this test lies."""

    root: Path
    environment: dict[str, str]

    def retort(self, *args: str, expected: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "retort.offline.cli", *args],
            capture_output=True,
            text=True,
            cwd=self.root,
            env=self.environment,
            timeout=300,
        )
        assert done.returncode == expected, f"{args}: status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done


@pytest.fixture(scope="module")
def world(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> World:
    with redis.Redis.from_url(redis_server) as client:
        client.flushall()
    root = tmp_path_factory.mktemp("world")
    quiet = {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "OPENAI_BASE_URL": "", "OPENAI_API_KEY": ""}
    where = {
        "REDIS_URL": redis_server,
        "DATABASE_URL": f"sqlite:///{root / 'retort.db'}",
        "RETORT_HOME": str(root / "home"),
    }
    python_path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return World(root, {**os.environ, **quiet, **where, "PYTHONPATH": python_path})


@pytest.fixture(scope="module")
def ran(world: World) -> dict[str, Any]:
    """The last line of `retort run --json`."""
    done = world.retort("run", _RECIPE, "--out", "out", "--json", "--no-plain")
    last: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return last


@pytest.fixture(scope="module")
def published(world: World, ran: dict[str, Any]) -> str:
    return world.retort("publish", ran["bundle"]).stdout


@pytest.fixture(scope="module")
def server(world: World, published: str) -> Iterator[tuple[str, Child]]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    args = [sys.executable, "-m", "retort.serving"]
    environment = {**world.environment, "RETORT_PORT": str(port)}
    with start_child(args, "server", log=world.root / "server.log", env=environment) as child:
        end = time.monotonic() + _READY_S
        while not _ready(url):
            child.check("it ended while starting")
            assert time.monotonic() < end, child.log.read_text()
            time.sleep(0.1)
        yield url, child


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", timeout=5).is_success
    except httpx.TransportError:
        return False


def test_the_last_line_of_a_run_is_one_object(ran: dict[str, Any]) -> None:
    assert set(ran) == {"bundle", "report", "test", "validation", "seconds"}
    assert "Run report" in Path(ran["report"]).read_text(encoding="utf-8")
    assert {"hr@10", "ndcg@10"} <= set(ran["test"])
    assert {"hr@10", "ndcg@10"} <= set(ran["validation"])
    assert open_bundle(Path(ran["bundle"])).manifest.metrics["test"] == ran["test"]


def test_a_second_run_finds_everything_done(world: World, ran: dict[str, Any]) -> None:
    again = world.retort("run", _RECIPE, "--out", "out", "--json", "--no-plain")
    assert json.loads(again.stdout.splitlines()[-1])["bundle"] == ran["bundle"]
    assert again.stderr.count("already done") == 11


def test_the_first_bundle_becomes_champion(published: str, ran: dict[str, Any]) -> None:
    assert Path(ran["bundle"]).name in published
    assert "champion" in published


def test_the_server_answers_what_the_scorer_answers(server: tuple[str, Child], ran: dict[str, Any]) -> None:
    url, _ = server
    bundle = open_bundle(Path(ran["bundle"]))
    scorer = bundle.scorer()
    for request in bundle.golden:
        body = {"history": request.history, "exclude": request.exclude, "k": request.k}
        answer = httpx.post(f"{url}/recommend", json=body, timeout=10).json()
        assert answer["source"] == "student"
        items, scores = scorer.top_k([bundle.item_index.indexes(request.history)], request.k).row(0)
        assert [item["item_id"] for item in answer["items"]] == [bundle.item_index.id(int(item)) for item in items]
        np.testing.assert_allclose([item["score"] for item in answer["items"]], scores, rtol=1e-4, atol=1e-4)


def test_real_users_are_answered_from_their_history_in_redis(
    world: World, server: tuple[str, Child], ran: dict[str, Any]
) -> None:
    url, _ = server
    said = world.retort("history", "load", _RECIPE, "--out", "out").stdout
    frame = pl.read_parquet(next((world.root / "out" / "steps").glob("data-*/interactions.parquet")))
    assert f"{frame['user_id'].n_unique()} histories" in said
    bundle, user_id = open_bundle(Path(ran["bundle"])), str(frame["user_id"][0])
    history = bundle.item_index.indexes(frame.filter(pl.col("user_id") == user_id)["item_id"].to_list())
    items, _ = bundle.scorer().top_k([history], 10).row(0)
    answer = httpx.get(f"{url}/recommend", params={"user_id": user_id, "k": 10}, timeout=10).json()
    assert answer["source"] == "student"
    assert [item["item_id"] for item in answer["items"]] == [bundle.item_index.id(int(item)) for item in items]


@pytest.mark.parametrize("way", [[], ["--by-events"]])
def test_evaluation_through_http_equals_offline(
    way: list[str], world: World, server: tuple[str, Child], ran: dict[str, Any]
) -> None:
    url, _ = server
    said = world.retort("evaluate", _RECIPE, "--out", "out", "--through", url, *way).stdout
    for metric in ("hr@10", "ndcg@10", "mrr@10"):
        cells = [cell.strip() for cell in next(line for line in said.splitlines() if metric in line).split("│")]
        offline, served = cells[2], cells[3]
        assert offline == served == f"{ran['test'][metric]:.4f}"


def test_a_bundle_that_was_asked_other_questions_is_not_compared(world: World, server: tuple[str, Child]) -> None:
    other = world.retort(
        "evaluate", _RECIPE, "--out", "out", "--through", server[0], "--set", "protocol=held", expected=2
    )
    assert "was evaluated with protocol = refit" in other.stderr


def test_a_mistake_is_one_sentence_and_status_2(world: World) -> None:
    done = world.retort("run", _RECIPE, "--set", "student.n_hats=3", expected=2)
    assert done.stderr.startswith("retort: [student] has no key 'n_hats'; its keys are: ")
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
