"""`retort data …` and `retort history load`."""

from collections.abc import Iterator
from pathlib import Path

import orjson
import polars as pl
from rich.console import Console

from retort.offline.common.terminal import TerminalProgress
from retort.offline.data.check import check
from retort.offline.data.data_directory import existing_directory
from retort.offline.data.fetch import CATALOGUE, fetch
from retort.offline.data.load import load, load_saved
from retort.offline.local.local_redis import redis_service
from retort.offline.pipeline.build import load_pipeline
from retort.offline.recipes.recipe import load_recipe
from retort.shared.base.settings import Settings
from retort.shared.history.redis_history import load_histories


def fetch_data(name: str | None, out: Path) -> None:
    """Download one data set, or list them."""
    if name is None:
        for known in sorted(CATALOGUE):
            print(known)
        return
    with TerminalProgress() as progress:
        for path in fetch(name, out, progress):
            progress.say(str(path))


def check_data(reference: str, data: Path | None, overrides: list[str]) -> int:
    """Print what is wrong, a line each; how many."""
    recipe = load_recipe(reference, overrides)
    where = existing_directory(data) if data else None
    with TerminalProgress() as progress:
        findings = check(recipe.data, where, progress)
    for finding in findings:
        print(finding)
    Console(stderr=True).print(f"{len(findings)} finding{'s' * (len(findings) != 1)}", highlight=False)
    return len(findings)


def report_data(reference: str, data: Path | None, overrides: list[str]) -> None:
    """Print the data report as JSON."""
    with TerminalProgress() as progress:
        loaded = load(load_recipe(reference, overrides).data, data, progress)
    print(orjson.dumps(loaded.report.as_json(), option=orjson.OPT_INDENT_2, default=str).decode())


def load_into_redis(reference: str, data: Path | None, out: Path, overrides: list[str]) -> None:
    """Every user's events, the newest ones that Redis may hold."""
    settings = Settings()
    with TerminalProgress() as progress:
        pipeline = load_pipeline(reference, data, out, overrides, progress)
        frame = load_saved(pipeline.ensure_path("data")).interactions.frame
        with redis_service(settings.histories_url, settings.retort_home, settings.histories_setting) as service:
            progress.say(service.story)
            users = load_frame(service.url, frame, settings)
    print(f"{users} histories are in Redis")


def load_frame(redis_url: str, frame: pl.DataFrame, settings: Settings) -> int:
    """The histories of an interactions frame into Redis; how many users."""
    return load_histories(
        redis_url,
        _histories(frame, settings.history_length),
        max_events=settings.history_length,
        ttl_s=settings.history_ttl_days * 86_400 or None,
    )


def _histories(frame: pl.DataFrame, newest: int) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    grouped = frame.group_by("user_id", maintain_order=True).agg(
        pl.col("item_id").tail(newest), pl.col("timestamp").tail(newest)
    )
    for user_id, items, times in grouped.iter_rows():
        yield user_id, list(zip(items, times, strict=True))
