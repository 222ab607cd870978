"""Thread pools: a database that hangs takes no other work with it, and does not delay the end of the process."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine

from retort.serving.models.bundles import load_bundle
from retort.serving.recommend.ranking import RankingRequest, StudentRanker
from retort.serving.runtime import database
from retort.serving.runtime.database import query_database
from retort.serving.runtime.metrics import Metrics
from retort.serving.runtime.threads import ThreadPool
from retort.serving.schemas.problems import Problem
from retort.shared.db.migrate import upgrade
from tests.serving._process import REPOSITORY

HISTORY = np.array([7, 8])


@pytest.fixture
def hanging() -> Iterator[threading.Event]:
    """Set at the end of the test: until then queries hang."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'retort.db'}"
    upgrade(url)
    return url


def test_a_student_in_a_thread_ranks_while_the_database_hangs(
    bundle_path: Path, url: str, hanging: threading.Event
) -> None:
    slow = replace(load_bundle(bundle_path), latency_ms=300.0)
    assert not slow.runs_inline

    async def story() -> None:
        ranker = StudentRanker(Metrics(), max_batch=16)
        queries = [asyncio.create_task(query_database(url, lambda _: hanging.wait(20))) for _ in range(60)]
        await asyncio.sleep(0.2)
        for _ in range(5):
            async with asyncio.timeout(2):
                assert len((await ranker.rank(RankingRequest(slow, HISTORY, HISTORY, 3)))[0]) == 3
        hanging.set()
        assert all(await asyncio.gather(*queries))

    asyncio.run(story())


def test_callers_of_a_hanging_database_get_503(
    url: str, hanging: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "CALL_TIMEOUT_S", 0.2)
    made: list[int] = []

    def query(engine: Engine) -> None:
        made.append(1)
        hanging.wait(20)

    async def story() -> None:
        started = time.monotonic()
        answers = await asyncio.gather(*(query_database(url, query) for _ in range(40)), return_exceptions=True)
        assert time.monotonic() - started < 5
        assert {type(answer) for answer in answers} == {Problem}
        assert len(made) < 40, "calls that nobody waits for any more are not made"

    asyncio.run(story())


def test_a_pool_uses_its_threads_and_hands_on_results_and_errors() -> None:
    pool = ThreadPool("test", 3)
    together = threading.Barrier(3)

    def fail() -> None:
        raise KeyError("lost")

    async def story() -> None:
        await asyncio.gather(*(pool.run(together.wait, 5) for _ in range(3)))
        assert await asyncio.gather(*(pool.run(lambda n: n * n, number) for number in range(50))) == [
            number**2 for number in range(50)
        ]
        names = await asyncio.gather(*(pool.run(lambda: threading.current_thread().name) for _ in range(50)))
        assert len(set(names)) <= 3
        with pytest.raises(KeyError):
            await pool.run(fail)
        assert await pool.run(lambda: "alive") == "alive"

    asyncio.run(story())


def test_the_process_ends_while_a_thread_hangs() -> None:
    program = (
        "import asyncio, time; from retort.serving.runtime.threads import ThreadPool\n"
        "async def main():\n"
        "    asyncio.create_task(ThreadPool('test', 2).run(time.sleep, 60))\n"
        "    await asyncio.sleep(0.1)\n"
        "asyncio.run(main())"
    )
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True, timeout=20)
