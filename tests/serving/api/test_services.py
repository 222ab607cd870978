"""Services use the stores that the settings name."""

import asyncio
from pathlib import Path

import pytest

from retort.serving.api.services import open_histories
from retort.serving.runtime.settings import ServingSettings
from retort.shared.base.settings import Settings
from retort.shared.history.store import MemoryHistory

NOBODY = "redis://127.0.0.1:1/0"


@pytest.mark.parametrize("only_one", [True, False])
def test_histories_are_read_from_the_configured_redis(redis_url: str, tmp_path: Path, only_one: bool) -> None:
    named = {"redis_url": redis_url} if only_one else {"redis_url": NOBODY, "histories_redis_url": redis_url}
    settings = Settings(_env_file=None, retort_home=tmp_path, **named)

    async def scenario() -> None:
        histories = open_histories(settings, ServingSettings(_env_file=None))
        await histories.ping()
        await histories.close()

    asyncio.run(scenario())


def test_without_redis_histories_are_in_memory(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, retort_home=tmp_path, redis_url=None)
    assert isinstance(open_histories(settings, ServingSettings(_env_file=None)), MemoryHistory)
