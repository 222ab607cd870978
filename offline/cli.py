"""`retort`: the command line. Each command is one file or one call; heavy libraries are imported inside them."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from offline.commands.items import app as items_app
from offline.experiments.cli import app as experiment_app
from offline.refresh.cli import app as refresh_app
from offline.refresh.profiles_cli import app as profiles_app
from offline.refresh.profiles_cli import plan
from shared.errors import RetortError

app = typer.Typer(
    name="retort",
    help="Recommenders that know what a language model knows, and answer without one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Look at raw data, and fetch what is public.", no_args_is_help=True)
db_app = typer.Typer(help="The database's tables.", no_args_is_help=True)
events_app = typer.Typer(help="What users did, from serving to the next training.", no_args_is_help=True)
history_app = typer.Typer(help="Histories in Redis.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(db_app, name="db")
app.add_typer(events_app, name="events")
app.add_typer(history_app, name="history")
app.add_typer(refresh_app, name="refresh")
app.add_typer(profiles_app, name="profiles")
app.add_typer(experiment_app, name="experiment")
app.add_typer(items_app, name="items")
app.command("plan")(plan)

DataDir = Annotated[Path | None, typer.Option("--data", help="directory of the raw files; made-up data needs none")]
OutDir = Annotated[Path, typer.Option("--out", help="directory for what is made; finished work in it is reused")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="section.key=value; may be repeated")]
RecipeName = Annotated[str, typer.Argument(help="a shipped recipe's name, or a .toml file")]


def main() -> None:
    """The entry point: a `RetortError` is one sentence and status 2; Ctrl-C is status 130."""
    try:
        app()
    except RetortError as error:
        sys.stderr.write(f"retort: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("retort: interrupted; the same command goes on where this one stopped.\n")
        sys.exit(130)


@app.callback()
def prepare() -> None:
    """Logging, once."""
    from shared.logging import configure_logging
    from shared.settings import Settings

    settings = Settings()
    configure_logging(settings.log_level if settings.log_json else "WARNING", as_json=settings.log_json)


@app.command()
def recipes() -> None:
    """List the shipped recipes."""
    from offline.recipe import load_recipe, shipped_recipes

    for name in shipped_recipes():
        typer.echo(f"{name:28} {load_recipe(name).raw.get('description', '')}")


@app.command()
def run(
    recipe: RecipeName,
    data: DataDir = None,
    out: OutDir = Path("runs"),
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="the last line is one JSON object")] = False,
    plain: Annotated[bool, typer.Option(help="run the same recipe without its teacher too, and compare")] = True,
) -> None:
    """Do a whole recipe in this process: raw data to sealed bundle."""
    from offline.commands.run import run_recipe

    run_recipe(recipe, data, out, overrides or [], as_json=as_json, beside_plain=plain)


@app.command()
def submit(recipe: RecipeName, data: DataDir = None, out: OutDir = Path("runs"), overrides: Overrides = None) -> None:
    """Do a whole recipe by Celery workers; watch it with `retort status`."""
    from offline.commands.jobs import submit_recipe

    typer.echo(submit_recipe(recipe, data, out, overrides or []))


@app.command()
def worker(
    queues: Annotated[str, typer.Option(help="which tasks it takes")] = "cpu,gpu-train,gpu-llm",
) -> None:
    """Work on submitted recipes and refreshes until told to stop: one worker a GPU."""
    from offline.commands.workers import work

    work([queue.strip() for queue in queues.split(",") if queue.strip()])


@app.command()
def status(
    run_id: Annotated[str | None, typer.Argument(help="one run; none: the latest")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="until it ends")] = False,
) -> None:
    """How far submitted recipes are."""
    from offline.commands.jobs import show_status

    show_status(run_id, watch=watch)


@app.command()
def bootstrap(
    recipe: Annotated[str, typer.Argument(help="a shipped recipe's name, a .toml file, or `none`")] = "demo",
    data: DataDir = None,
    out: OutDir = Path("runs"),
) -> None:
    """Where nothing serves yet: have workers make and publish a first bundle, and load its histories."""
    from offline.commands.bootstrap import bootstrap as act

    typer.echo(act(recipe, data, out))


@app.command()
def publish(
    bundle: Annotated[Path, typer.Argument(help="a sealed bundle's directory")],
    alias: Annotated[str | None, typer.Option(help="let this alias point to it at once")] = None,
) -> None:
    """Copy a bundle to where serving finds it, and record its version."""
    from offline.commands.models import publish_bundle

    typer.echo(publish_bundle(bundle, alias))


@app.command()
def promote(
    reference: Annotated[str, typer.Argument(help="bundle id, its start, name@version, or an alias")],
    alias: Annotated[str, typer.Option(help="which alias to move")] = "champion",
    metric: Annotated[str | None, typer.Option(help="hr, ndcg or mrr at a k; none: ndcg at the recipe's k")] = None,
    cases: Annotated[
        Path | None, typer.Option(help="a run's split directory: ask both bundles its test, where their data differ")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="against the gate; needs --because, and is recorded")] = False,
    because: Annotated[str | None, typer.Option(help="why; kept with the promotion")] = None,
) -> None:
    """Let an alias point to a published bundle, if it is not worse than what stands there; serving follows."""
    from offline.commands.promotion import promote_bundle

    typer.echo(promote_bundle(reference, alias, metric, cases, force=force, because=because))


@app.command()
def rollback(alias: Annotated[str, typer.Option(help="which alias")] = "champion") -> None:
    """Undo an alias' last promotion."""
    from offline.commands.models import rollback_alias

    typer.echo(rollback_alias(alias))


@app.command()
def models(
    changes: Annotated[bool, typer.Option("--changes", help="who promoted what, when and why")] = False,
) -> None:
    """List what is published."""
    from offline.commands.models import list_changes, list_models

    (list_changes if changes else list_models)()


@app.command()
def recommend(
    users: Annotated[Path, typer.Option(help="Parquet with a column user_id")],
    out: Annotated[Path, typer.Option(help="Parquet to write: user_id, item_id, score, rank, source")],
    bundle: Annotated[str, typer.Option(help="a bundle's directory, or an alias, id or name@version")] = "champion",
    histories: Annotated[
        Path | None, typer.Option(help="Parquet with user_id, item_id, timestamp; none: Redis, as serving does")
    ] = None,
    k: Annotated[int, typer.Option(help="items for each user")] = 10,
    tenant: Annotated[str, typer.Option(help="whose bundle and histories")] = "default",
) -> None:
    """Answer a whole file of users, with the answers that the server would give."""
    from offline.commands.recommend import recommend_users

    typer.echo(recommend_users(users, out, bundle, histories, k, tenant))


@app.command()
def compare(
    a: Annotated[list[Path], typer.Argument(help="users.parquet of the baseline runs, one a seed")],
    b: Annotated[list[Path], typer.Option("--with", help="users.parquet of the variant's runs, one a seed")],
    metric: Annotated[str, typer.Option(help="hr, ndcg or mrr at a k")] = "ndcg@10",
) -> None:
    """Is one run better than another? Paired by user, with an interval."""
    from offline.commands.measure import compare_runs

    typer.echo(compare_runs(a, b, metric))


@app.command()
def evaluate(
    recipe: RecipeName,
    through: Annotated[str, typer.Option(help="URL of a running server, such as http://127.0.0.1:8000")],
    data: DataDir = None,
    out: OutDir = Path("runs"),
    overrides: Overrides = None,
    by_events: Annotated[bool, typer.Option(help="post histories as events first, ask by user_id")] = False,
) -> None:
    """Ask the recipe's test over HTTP and measure the answers; beside them what the run itself measured."""
    from offline.commands.measure import evaluate_through

    evaluate_through(recipe, through, data, out, overrides or [], by_events=by_events)


@app.command()
def reproduce(
    paper: Annotated[str, typer.Argument(help="ecir26, llmkt, dllm2rec or llmd4rec")],
    data: DataDir = None,
    dataset: Annotated[str | None, typer.Option(help="which of the paper's data sets lies in --data")] = None,
    out: OutDir = Path("runs"),
    modes: Annotated[str, typer.Option(help="any of plain,faithful,repaired")] = "plain,faithful,repaired",
    overrides: Overrides = None,
) -> None:
    """Run a paper's recipes on its data, and print its numbers beside ours."""
    from offline.commands.reproduce import reproduce_paper

    reproduce_paper(paper, dataset, data, out, modes, overrides or [])


@app.command()
def ctr(
    file: Annotated[str, typer.Argument(help="a shipped comparison (ml1m), or a .toml file with [ctr]")],
    data: DataDir = None,
    out: OutDir = Path("runs"),
    overrides: Overrides = None,
) -> None:
    """DeepFM and DCN-v2 with profiles as input (KAR) and as a lesson (LLM-KT), by AUC; offline only."""
    from offline.commands.ctr import compare_ctr

    compare_ctr(file, data, out, overrides or [])


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def serve(context: typer.Context) -> None:
    """Start the API (the same as `retort-serve`; needs the `serving` extra)."""
    import os

    os.execv(sys.executable, [sys.executable, "-m", "serving", *context.args])  # noqa: S606 - fixed program


@app.command()
def demo(
    leave: Annotated[bool, typer.Option("--exit", help="end after the answers instead of serving on")] = False,
) -> None:
    """The whole line on made-up data: profiles to answers over HTTP."""
    from offline.demo import run_demo

    run_demo(leave=leave)


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str | None, typer.Argument(help="a public data set; none: list them")] = None,
    out: Annotated[Path, typer.Option("--out", help="directory to put it in")] = Path("data"),
) -> None:
    """Download a public data set; an interrupted download goes on."""
    from offline.commands.data import fetch_data

    fetch_data(name, out)


@data_app.command("check")
def data_check(recipe: RecipeName, data: DataDir = None, overrides: Overrides = None) -> None:
    """Say what is wrong with raw data, by file, row and column; status 1 if anything is."""
    from offline.commands.data import check_data

    if check_data(recipe, data, overrides or []):
        raise typer.Exit(1)


@data_app.command("report")
def data_report(recipe: RecipeName, data: DataDir = None, overrides: Overrides = None) -> None:
    """Read the data as the recipe does and describe it."""
    from offline.commands.data import report_data

    report_data(recipe, data, overrides or [])


@history_app.command("load")
def history_load(
    recipe: RecipeName, data: DataDir = None, out: OutDir = Path("runs"), overrides: Overrides = None
) -> None:
    """Put every user's events of a run's data into Redis."""
    from offline.commands.data import load_into_redis

    load_into_redis(recipe, data, out, overrides or [])


@events_app.command("drain")
def events_drain(
    watch: Annotated[bool, typer.Option("--watch", help="again and again, until told to stop")] = False,
    every_s: Annotated[float, typer.Option(min=0.1, help="seconds between two looks at the stream")] = 5.0,
) -> None:
    """Bring serving's events from their Redis Stream to the database; nothing is lost while either is away."""
    from offline.commands.events import drain_events

    drain_events(every_s if watch else None)


@events_app.command("schedule")
def events_schedule(
    every_s: Annotated[float, typer.Option(min=1.0, help="seconds between two drains")] = 60.0,
) -> None:
    """Be Celery's beat for the drain: a worker of the queue cpu does it."""
    from offline.commands.events import schedule_by_beat

    schedule_by_beat(every_s)


@events_app.command("export")
def events_export(
    out: Annotated[Path, typer.Option("--out", help="directory for events.parquet: --data of a recipe")],
) -> None:
    """Freeze the database's events into a file that `[data] source = "events"` reads."""
    from offline.commands.events import export_events

    typer.echo(export_events(out))


@db_app.command("upgrade")
def db_upgrade() -> None:
    """Bring the database's tables to this version."""
    from shared.db.migrate import upgrade
    from shared.settings import Settings

    upgrade(Settings().database)
    typer.echo("the database is at this version's tables")


if __name__ == "__main__":
    main()
