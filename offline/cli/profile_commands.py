"""What `retort profiles …` does."""

from pathlib import Path

import polars as pl
from rich.console import Console

from retort.offline.common.database import migrate_and_open
from retort.offline.common.terminal import TerminalProgress
from retort.offline.data.load import load_saved
from retort.offline.data.split_store import load_split
from retort.offline.local.local_redis import running_redis
from retort.offline.pipeline.build import load_pipeline
from retort.offline.pipeline.context import PROFILES_FILE
from retort.offline.profiles.batch_files import batch_round
from retort.offline.profiles.history import Catalogue, user_histories
from retort.offline.profiles.store import ProfileStore
from retort.offline.profiles.themes import extract_themes, join_texts
from retort.shared.base.errors import StoreError
from retort.shared.base.settings import Settings
from retort.shared.history.themes import write_themes
from retort.shared.profiles.profile_choices import (
    edit_profile,
    erase_profile,
    pin_profile,
    release_profile,
    view_profile,
)

_DAY_S = 86_400


def run_round(
    reference: str,
    data: Path | None,
    out: Path,
    overrides: list[str],
    results: list[Path],
    target: Path,
    model: str,
    context_tokens: int,
) -> str:
    """One round of batch files; what it did, in one sentence."""
    with TerminalProgress() as progress:
        pipeline = load_pipeline(reference, data, out, overrides, progress)
        loaded, split = load_saved(pipeline.ensure_path("data")), load_split(pipeline.ensure_path("split"))
        done = batch_round(
            user_histories(split, loaded.interactions),
            loaded.items,
            pipeline.context.recipe.profiles,
            ProfileStore(pipeline.context.engine),
            progress,
            model=model,
            results=results,
            target=target,
            context_tokens=context_tokens,
        )
    report = done.report
    stored = f"{report.written} profiles stored, {report.reused} were there, {report.failed} failed"
    if not done.n_waiting:
        return f"{stored}; nothing is left to ask"
    return f"{stored}; {done.n_waiting} prompts wait in {', '.join(map(str, done.files))}"


def publish_themes(reference: str, data: Path | None, out: Path, overrides: list[str], days: int) -> str:
    """Write the themes of a run's profiles into serving's Redis; one sentence."""
    settings = Settings()
    redis_url = settings.histories_url or running_redis(settings.retort_home)
    if redis_url is None:
        raise StoreError("themes live in serving's Redis: set REDIS_URL (or HISTORIES_REDIS_URL) to it.")
    with TerminalProgress() as progress:
        pipeline = load_pipeline(reference, data, out, overrides, progress)
        tables, split = load_saved(pipeline.ensure_path("data")), load_split(pipeline.ensure_path("split"))
        config = pipeline.context.recipe.profiles
        profiles = pl.read_parquet(pipeline.ensure_path("profiles") / PROFILES_FILE)
        users = extract_themes(
            user_histories(split, tables.interactions),
            join_texts(profiles),
            Catalogue(tables.items, config.attributes),
            ProfileStore(pipeline.context.engine),
            config.max_history,
        )
        n_users = write_themes(redis_url, users, ttl_s=days * _DAY_S)
    return f"{n_users} users have themes for {days} days"


def show_profile(user_id: str) -> None:
    """The choice that holds and every version."""
    view = view_profile(migrate_and_open(Settings()), user_id)
    console = Console()
    if view.choice is not None:
        console.print(f"{view.choice.kind} at {view.choice.set_at:%Y-%m-%d %H:%M} by {view.choice.set_by or 'unknown'}")
    console.print(view.text or "(no profile)", markup=False, highlight=False)
    for version in view.versions:
        grounding = "unknown" if version.grounding is None else f"{version.grounding:.2f}"
        seen = "unknown" if version.n_events is None else str(version.n_events)
        console.print(
            f"{version.created_at:%Y-%m-%d %H:%M}  {version.aspect}  {version.model}  {seen} events  "
            f"grounding {grounding}",
            markup=False,
            highlight=False,
        )


def edit(user_id: str, text: str) -> str:
    """One sentence."""
    edit_profile(migrate_and_open(Settings()), user_id, text, set_by="command line")
    return f"the profile of {user_id} is theirs now; refreshes leave it alone"


def pin(user_id: str) -> str:
    """One sentence."""
    pin_profile(migrate_and_open(Settings()), user_id, set_by="command line")
    return f"the profile of {user_id} stays as it is"


def erase(user_id: str) -> str:
    """One sentence."""
    n_texts = erase_profile(migrate_and_open(Settings()), user_id, set_by="command line")
    return f"{n_texts} texts of {user_id} are deleted, and none will be written"


def release(user_id: str) -> str:
    """One sentence."""
    if release_profile(migrate_and_open(Settings()), user_id):
        return f"models may write of {user_id} again"
    return f"{user_id} had decided nothing"
