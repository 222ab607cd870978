"""The `retort profiles` command group: batch files, one user's profile, and themes."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from retort.offline.cli._options import AsJson, DataDir, OutDir, Overrides, RecipeName
from retort.offline.common.terminal import TerminalProgress, print_json
from retort.shared.base.errors import ProfileError, StoreError
from retort.shared.base.ids import canonical_id
from retort.shared.base.text import id_fault

profiles_app = typer.Typer(help="Profiles by batch files, and the profile of one user.", no_args_is_help=True)


def _check_user_id(user_id: str) -> str:
    if fault := id_fault(user_id):
        raise ProfileError(f"user_id {user_id!r} {fault}, so no user has it; correct the id.")
    return canonical_id(user_id)


_User = Annotated[str, typer.Argument(help="user_id", callback=_check_user_id)]
_Model = Annotated[str, typer.Option(help="the model's name at the batch service; stored with each text")]
_Context = Annotated[int, typer.Option(help="context length in tokens: prompt plus answer")]
_DAY_S = 86_400
_SET_BY = "command line"


@profiles_app.command("export")
def export_prompts(
    recipe: RecipeName,
    to: Annotated[Path, typer.Option("--to", help="OpenAI Batch JSONL to write")],
    model: _Model,
    data: DataDir = None,
    out: OutDir = Path("runs"),
    overrides: Overrides = None,
    context_tokens: _Context = 8192,
) -> None:
    """Write the prompts of all missing profiles into a batch file."""
    typer.echo(_run_round(recipe, data, out, overrides or [], [], to, model, context_tokens))


@profiles_app.command("import")
def import_results(
    recipe: RecipeName,
    results: Annotated[list[Path], typer.Argument(help="result files of the batch service, of all rounds so far")],
    to: Annotated[Path, typer.Option("--to", help="file for the next round's prompts, if any are left")],
    model: _Model,
    data: DataDir = None,
    out: OutDir = Path("runs"),
    overrides: Overrides = None,
    context_tokens: _Context = 8192,
) -> None:
    """Check and store the batch's results; unfinished prompts go into the next batch file."""
    typer.echo(_run_round(recipe, data, out, overrides or [], results, to, model, context_tokens))


def _run_round(
    reference: str,
    data: Path | None,
    out: Path,
    overrides: list[str],
    results: list[Path],
    target: Path,
    model: str,
    context_tokens: int,
) -> str:
    """Run a round of batch files; returns a summary sentence."""
    from retort.offline.data.split_store import load_split
    from retort.offline.pipeline.build import load_pipeline
    from retort.offline.pipeline.context import load_items, load_tables
    from retort.offline.profiles.batch_files import batch_round
    from retort.offline.profiles.history import user_histories
    from retort.offline.profiles.store import ProfileStore

    with TerminalProgress() as progress:
        pipeline = load_pipeline(reference, data, out, overrides, progress)
        interactions, split = load_tables(pipeline).interactions, load_split(pipeline.ensure_path("split"))
        done = batch_round(
            user_histories(split, interactions),
            load_items(pipeline),
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
        return f"{stored}; no prompts are left"
    return f"{stored}; {done.n_waiting} prompts are in {', '.join(map(str, done.files))}"


@profiles_app.command("show")
def show_profile(user_id: _User, as_json: AsJson = False) -> None:
    """Show the user's choice, the profile in force, every stored version and refused replies with the reason."""
    from retort.offline.common.database import migrate_and_open
    from retort.shared.base.settings import Settings
    from retort.shared.profiles.profile_choices import view_profile

    view = view_profile(migrate_and_open(Settings()), user_id)
    if as_json:
        print_json({**asdict(view), "text": view.text})
        return
    console = Console()
    if view.choice is not None:
        console.print(f"{view.choice.kind} at {view.choice.set_at:%Y-%m-%d %H:%M} by {view.choice.set_by or 'unknown'}")
    console.print(view.text or "(no profile)", markup=False, highlight=False)
    for version in view.versions:
        faithfulness = "unknown" if version.grounding is None else f"{version.grounding:.2f}"
        seen = "unknown" if version.n_events is None else str(version.n_events)
        console.print(
            f"{version.created_at:%Y-%m-%d %H:%M}  {version.aspect}  {version.model}  {seen} events  "
            f"faithfulness {faithfulness}",
            markup=False,
            highlight=False,
        )
    for refusal in view.refusals:
        console.print(
            f"{refusal.created_at:%Y-%m-%d %H:%M}  {refusal.aspect}  {refusal.model}  refused: {refusal.error}",
            markup=False,
            highlight=False,
        )
        console.print(refusal.text or "(the reply was not kept)", markup=False, highlight=False)


@profiles_app.command("edit")
def edit(user_id: _User, text: Annotated[str, typer.Argument(help="the text that replaces the profile")]) -> None:
    """Replace a profile by the user's own text; refreshes keep it."""
    from retort.offline.common.database import migrate_and_open
    from retort.shared.base.settings import Settings
    from retort.shared.profiles.profile_choices import edit_profile

    edit_profile(migrate_and_open(Settings()), user_id, text, set_by=_SET_BY)
    typer.echo(f"the profile of {user_id} is the given text; refreshes do not change it")


@profiles_app.command("pin")
def pin(user_id: _User) -> None:
    """Keep the profile that is in force; refreshes do not change it."""
    from retort.offline.common.database import migrate_and_open
    from retort.shared.base.settings import Settings
    from retort.shared.profiles.profile_choices import pin_profile

    pin_profile(migrate_and_open(Settings()), user_id, set_by=_SET_BY)
    typer.echo(f"the profile of {user_id} is pinned; refreshes do not change it")


@profiles_app.command("erase")
def erase(user_id: _User) -> None:
    """Delete every profile text of a user, and write no new one."""
    from retort.offline.common.database import migrate_and_open
    from retort.shared.base.settings import Settings
    from retort.shared.profiles.profile_choices import erase_profile

    n_texts = erase_profile(migrate_and_open(Settings()), user_id, set_by=_SET_BY)
    typer.echo(f"{n_texts} texts of {user_id} are deleted, and no new one will be written")


@profiles_app.command("release")
def release(user_id: _User) -> None:
    """Withdraw an edit, a pin or an erasure."""
    from retort.offline.common.database import migrate_and_open
    from retort.shared.base.settings import Settings
    from retort.shared.profiles.profile_choices import release_profile

    if release_profile(migrate_and_open(Settings()), user_id):
        typer.echo(f"refreshes write the profile of {user_id} again")
    else:
        typer.echo(f"{user_id} has no edit, pin or erasure")


@profiles_app.command("publish-themes")
def publish_themes_command(
    recipe: RecipeName,
    data: DataDir = None,
    out: OutDir = Path("runs"),
    overrides: Overrides = None,
    days: Annotated[int, typer.Option(min=1, help="days until they expire, unless written again")] = 90,
) -> None:
    """Write a few theme words of each profile into serving's Redis; missing profiles are generated first."""
    typer.echo(publish_themes(recipe, data, out, overrides or [], days))


def publish_themes(reference: str, data: Path | None, out: Path, overrides: list[str], days: int) -> str:
    """Write the themes of a run's profiles into serving's Redis; returns a summary sentence."""
    import polars as pl

    from retort.offline.data.split_store import load_split
    from retort.offline.local.local_redis import running_redis
    from retort.offline.pipeline.build import load_pipeline
    from retort.offline.pipeline.context import PROFILES_FILE, load_items, load_tables
    from retort.offline.profiles.history import Catalogue, user_histories
    from retort.offline.profiles.store import ProfileStore
    from retort.offline.profiles.themes import extract_themes, join_texts
    from retort.shared.base.settings import Settings
    from retort.shared.history.themes import write_themes

    settings = Settings()
    redis_url = settings.histories_url or running_redis(settings.retort_home)
    if redis_url is None:
        raise StoreError("themes are kept in serving's Redis: set REDIS_URL (or HISTORIES_REDIS_URL) to it.")
    with TerminalProgress() as progress:
        pipeline = load_pipeline(reference, data, out, overrides, progress)
        interactions, split = load_tables(pipeline).interactions, load_split(pipeline.ensure_path("split"))
        config = pipeline.context.recipe.profiles
        profiles = pl.read_parquet(pipeline.ensure_path("profiles") / PROFILES_FILE)
        users = extract_themes(
            user_histories(split, interactions),
            join_texts(profiles),
            Catalogue(load_items(pipeline), config.attributes),
            ProfileStore(pipeline.context.engine),
            config.max_history,
        )
        n_users = write_themes(redis_url, users, ttl_s=days * _DAY_S)
    return f"{n_users} users have themes for {days} days"
