"""The `retort quickstart` command: from a log to a server that answers, with one command."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retort.offline.cli._options import OutDir

if TYPE_CHECKING:
    import polars as pl
    from rich.console import Console
    from sqlalchemy import Engine

    from retort.offline.common.progress import Progress
    from retort.offline.quickstart.train import Arm
    from retort.offline.recipes.recipe import Recipe

_RECOGNISED = "unset: recognised"


def quickstart(
    events: Annotated[Path, typer.Argument(help="a log of events: .csv, .tsv, .parquet, .jsonl, also .gz")],
    items: Annotated[Path | None, typer.Argument(help="a table of items with titles and attributes")] = None,
    recipe: Annotated[Path, typer.Option(help="recipe file; written if it does not exist")] = Path("shop.toml"),
    minutes: Annotated[float, typer.Option(min=0.2, help="time budget of a new recipe")] = 5.0,
    user: Annotated[str | None, typer.Option(help=f"the log's column of users; {_RECOGNISED}")] = None,
    item: Annotated[str | None, typer.Option(help=f"the log's column of items; {_RECOGNISED}")] = None,
    at: Annotated[str | None, typer.Option("--time", help=f"the log's column of times; {_RECOGNISED}")] = None,
    out: OutDir = Path("runs"),
    leave: Annotated[bool, typer.Option("--exit", help="end after the answer instead of serving on")] = False,
) -> None:
    """Go from a log to a live API: recognise columns, write a recipe, train, compare, publish, serve."""
    from rich.console import Console

    from retort.offline.common.database import migrate_and_open
    from retort.offline.common.terminal import TerminalProgress
    from retort.offline.quickstart.recipe_file import save_recipe
    from retort.offline.quickstart.settings_by_size import check_minutes
    from retort.offline.quickstart.train import best_arm, train_arms
    from retort.offline.recipes.recipe import load_recipe
    from retort.offline.run_report.page import write_report
    from retort.shared.base.errors import RecipeError
    from retort.shared.base.settings import Settings

    if recipe.suffix != ".toml":
        raise RecipeError(f"--recipe {recipe} is no .toml file; name one such as shop.toml.")
    check_minutes(minutes)
    started = time.perf_counter()
    console = Console()
    engine = migrate_and_open(Settings())
    root = events.absolute().parent
    with TerminalProgress() as progress:
        if recipe.is_file():
            _refuse_other_files(recipe, events, items)
            progress.say(
                f"{recipe} exists and is used, and not --minutes or names of columns; edit it, or delete it to "
                "recognise the files anew."
            )
        else:
            text = _new_recipe(events, items, {"user": user, "item": item, "time": at}, minutes, engine, out, progress)
            save_recipe(recipe, text)
            progress.say(f"wrote {recipe}")
        loaded = load_recipe(str(recipe))
        arms = train_arms(loaded, root, engine, out, progress)
    best = best_arm(arms)
    _show_comparison(console, arms, best)
    named = {"--user": user, "--item": item, "--time": at}
    command = _command(events, items, recipe, minutes, out, named)
    report = write_report({arm.name: arm.pipeline for arm in arms}, command, out)
    console.print(f"report: {report}", markup=False, highlight=False, soft_wrap=True)
    _publish(console, engine, arms, best)
    _serve(console, engine, loaded, root, out, best, leave=leave, started=started)


def _refuse_other_files(recipe: Path, events: Path, items: Path | None) -> None:
    """Raise RecipeError if a recipe was written for other files: it would train on those."""
    from retort.offline.recipes.recipe import load_recipe
    from retort.shared.base.errors import RecipeError

    options = load_recipe(str(recipe)).data.options
    given = {"interactions": events, "items": items}
    for key, path in given.items():
        written = options.get(key)
        if (Path(written).name if written else None) != (path.name if path else None):
            raise RecipeError(
                f"{recipe} was written for {written or 'no items file'}, and the command names {path or 'none'}; "
                f"choose another recipe file with --recipe, or delete {recipe}."
            )


def _new_recipe(
    events: Path,
    items: Path | None,
    names: dict[str, str | None],
    minutes: float,
    engine: "Engine",
    out: Path,
    progress: "Progress",
) -> str:
    """Recognise the files, measure the data and return the text of their recipe."""
    import shlex

    from retort.offline.quickstart.recipe_file import data_section, recipe_text
    from retort.offline.quickstart.recognised import recognise
    from retort.offline.quickstart.settings_by_size import choose_settings
    from retort.offline.quickstart.train import measure

    found = recognise(events, items, names)
    for line in found.lines():
        progress.say(line)
    data = data_section(found)
    size, filters = measure(data, events.absolute().parent, engine, out, progress)
    progress.say(f"{size.events:,} events of {size.users:,} users and {size.items:,} items")
    settings = filters + choose_settings(size, minutes, texts=found.items is not None)
    for setting in settings:
        progress.say(f"  {setting.key} = {setting.value}: {setting.reason}")
    command = shlex.join(["retort", "quickstart", str(events), *([str(items)] if items else [])])
    return recipe_text(found, data, settings, command)


def _command(
    events: Path, items: Path | None, recipe: Path, minutes: float, out: Path, named: dict[str, str | None]
) -> str:
    """Return the command as a person repeats it. named: options for columns that the user named."""
    import shlex

    files = [str(events), *([str(items)] if items else [])]
    columns = [part for option, column in named.items() if column for part in (option, column)]
    where = ["--recipe", str(recipe), "--minutes", f"{minutes:g}", "--out", str(out)]
    return shlex.join(["retort", "quickstart", *files, *columns, *where])


def _show_comparison(console: "Console", arms: list["Arm"], best: "Arm") -> None:
    """Print popularity and the students on the test cases, and the paired difference of the students."""
    import polars as pl

    from retort.offline.common.terminal import show_rows
    from retort.offline.evaluation.compare import compare
    from retort.offline.quickstart.train import notes

    rows = [
        {"": "popularity", **_metrics(arms[0].outcome.baselines["popularity"]), "epochs, best": "–"},
        *(
            {"": f"student, {arm.name}", **_metrics(arm.outcome.test), "epochs, best": "{}, {}".format(*arm.epochs)}
            for arm in arms
        ),
    ]
    show_rows(rows, "test: each user's last event, ranked among all items, seen items hidden")
    if len(arms) > 1:
        plain, other = (pl.read_parquet(arm.outcome.per_user) for arm in arms)
        compared = compare([plain], [other], "ndcg@10", resamples=2000)
        console.print(f"{arms[1].name} compared with plain: {compared.sentence()}", markup=False, highlight=False)
        console.print(f"The better one on validation is: {best.name}", markup=False, highlight=False)
    for note in notes(arms):
        console.print(note, markup=False, highlight=False)


def _metrics(measured: dict[str, float]) -> dict[str, float]:
    return {"HR@10": measured["hr@10"], "NDCG@10": measured["ndcg@10"]}


def _publish(console: "Console", engine: "Engine", arms: list["Arm"], best: "Arm") -> None:
    """Publish the better student as champion and the other as challenger."""
    from retort.offline.export.publish import publish_to
    from retort.shared.base.settings import Settings
    from retort.shared.model.registry import CHALLENGER, CHAMPION

    for arm in sorted(arms, key=lambda arm: arm is best):
        alias = CHAMPION if arm is best else CHALLENGER
        published = publish_to(engine, arm.outcome.bundle, Settings().bundles_dir, alias)
        console.print(f"published {published.name}@{published.version} as {alias}", markup=False, highlight=False)


def _serve(
    console: "Console",
    engine: "Engine",
    recipe: "Recipe",
    root: Path,
    out: Path,
    best: "Arm",
    *,
    leave: bool,
    started: float,
) -> None:
    """Load histories, start the API, answer for one user and serve until Ctrl-C."""
    from retort.offline.cli.data import load_frame
    from retort.offline.cli.demo_client import DemoClient
    from retort.offline.cli.local_server import local_server, serve_until_interrupted
    from retort.offline.common.progress import Silent
    from retort.offline.data.tables import load_saved
    from retort.offline.library.server import store_settings
    from retort.offline.local.local_redis import redis_service
    from retort.offline.pipeline.build import make_pipeline
    from retort.offline.pipeline.context import make_context
    from retort.shared.base.settings import Settings

    settings = Settings()
    pipeline = make_pipeline(make_context(recipe, root, engine, Silent()), out)
    frame = load_saved(pipeline.ensure_path("data")).interactions.frame
    user_id = _typical_user(frame)
    with ExitStack() as stack:
        redis = stack.enter_context(redis_service(settings.redis_url, settings.retort_home))
        console.print(redis.description, markup=False, highlight=False)
        console.print(f"{load_frame(redis.url, frame, settings):,} histories are in Redis", highlight=False)
        environment = store_settings(redis.url, settings.database)
        url, server = stack.enter_context(local_server(environment, out.absolute()))
        with DemoClient(url) as client:
            client.show_effect_of_event(console, user_id=user_id)
        console.print(f"From the log to this answer: {time.perf_counter() - started:.0f} s", highlight=False)
        for line in (
            f"Console: {url}/console?user_id={user_id}",
            f"API: {url} (documentation at {url}/docs)",
            f"  curl '{url}/recommend?user_id={user_id}&k=5'",
        ):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        if not leave:
            serve_until_interrupted(console, server, "the same command serves again at once.")


def _typical_user(frame: "pl.DataFrame") -> str:
    """Return a user with about the median number of events, three at least."""
    lengths = frame["user_id"].value_counts(sort=True).sort("count", "user_id")
    enough = lengths.filter(lengths["count"] >= 3)
    lengths = enough if enough.height else lengths
    return str(lengths["user_id"][lengths.height // 2])
