"""The parts are wired to the stores that the settings name."""

import asyncio
from pathlib import Path

import pytest

from retort.serving.api.services import open_histories
from retort.serving.runtime.settings import ServingSettings
from retort.shared.base.settings import Settings
from retort.shared.history.store import MemoryHistory

NOBODY = "redis://127.0.0.1:1/0"


@pytest.mark.parametrize("only_one", [True, False])
def test_histories_are_read_where_workers_write_them(redis_url: str, tmp_path: Path, only_one: bool) -> None:
    named = {"redis_url": redis_url} if only_one else {"redis_url": NOBODY, "histories_redis_url": redis_url}
    settings = Settings(_env_file=None, retort_home=tmp_path, **named)

    async def story() -> None:
        histories = open_histories(settings, ServingSettings(_env_file=None))
        await histories.ping()
        await histories.close()

    asyncio.run(story())


def test_without_redis_they_are_this_processs_own(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, retort_home=tmp_path, redis_url=None)
    assert isinstance(open_histories(settings, ServingSettings(_env_file=None)), MemoryHistory)
