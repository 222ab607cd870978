"""`retort`: the command line. Each command is one file or one call; heavy libraries are imported inside them."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from retort.offline.cli import models_cli
from retort.offline.cli._options import DataDir, OutDir, Overrides, RecipeName
from retort.offline.cli.experiments_cli import app as experiment_app
from retort.offline.cli.items import app as items_app
from retort.offline.cli.profiles import app as profiles_app
from retort.offline.cli.profiles import plan
from retort.offline.cli.refresh import app as refresh_app
from retort.offline.cli.stores_cli import data_app, db_app, events_app, history_app
from retort.shared.base.errors import RetortError

if TYPE_CHECKING:
    from retort.shared.base.settings import Settings

_INTERRUPTED = 130

app = typer.Typer(
    name="retort",
    help="Recommenders that know what a language model knows, and answer without one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data_app, name="data")
app.add_typer(db_app, name="db")
app.add_typer(events_app, name="events")
app.add_typer(history_app, name="history")
app.add_typer(refresh_app, name="refresh")
app.add_typer(profiles_app, name="profiles")
app.add_typer(experiment_app, name="experiment")
app.add_typer(items_app, name="items")


def main() -> None:
    """The entry point: a `RetortError` and a file's error are one sentence and status 2; Ctrl-C is status 130."""
    try:
        app()
    except RetortError as error:
        _leave(str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        why = error.strerror or str(error)
        _leave(f"{where}{why}; mend the path, its rights or the room on its disk and run the same command again.")
    except SystemExit as left:
        if left.code == _INTERRUPTED:  # Typer leaves without a word
            sys.stderr.write("retort: interrupted; what is finished is kept, and the same command goes on.\n")
        raise


def _leave(sentence: str) -> NoReturn:
    sys.stderr.write(f"retort: {sentence}\n")
    sys.exit(2)


@app.callback()
def prepare() -> None:
    """Logging and traces, once."""
    from retort.shared.base.logging import configure_logging

    settings = _settings()
    configure_logging(settings.log_level if settings.log_json else "WARNING", as_json=settings.log_json)
    if settings.retort_traces:
        from retort.offline.common.tracing import trace_offline

        trace_offline()


def _settings() -> "Settings":
    """Read here once, so that every command finds settings that can be used."""
    from pydantic import ValidationError

    from retort.shared.base.settings import Settings

    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        name = "_".join(map(str, first["loc"])).upper()
        raise RetortError(
            f"the setting {name} cannot be used: {first['msg']}; correct it in the environment or in .env."
        ) from None


@app.command()
def recipes(
    recipe: Annotated[str | None, typer.Argument(help="a shipped recipe's name, or a .toml file; none: list")] = None,
    overrides: Overrides = None,
) -> None:
    """List the shipped recipes, or show one whole: `extends` and all defaults filled in."""
    from retort.offline.cli.recipes import list_recipes, show_recipe

    typer.echo("\n".join(list_recipes()) if recipe is None else show_recipe(recipe, overrides or []).rstrip())


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
    from retort.offline.cli.run import run_recipe

    run_recipe(recipe, data, out, overrides or [], as_json=as_json, beside_plain=plain)


@app.command()
def submit(recipe: RecipeName, data: DataDir = None, out: OutDir = Path("runs"), overrides: Overrides = None) -> None:
    """Do a whole recipe by Celery workers; watch it with `retort status`."""
    from retort.offline.cli.jobs import submit_recipe

    typer.echo(submit_recipe(recipe, data, out, overrides or []))


@app.command()
def worker(
    queues: Annotated[str, typer.Option(help="which tasks it takes")] = "cpu,gpu-train,gpu-llm",
) -> None:
    """Work on submitted recipes and refreshes until told to stop: one worker a GPU."""
    from retort.offline.cli.workers import work

    work([queue.strip() for queue in queues.split(",") if queue.strip()])


@app.command()
def metrics(
    host: Annotated[
        str, typer.Option(help="address to listen at; there is nothing secret and no user in it")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port")] = 9108,
    profiles_every_s: Annotated[float, typer.Option(min=1.0, help="pause between two looks at all profiles")] = 300.0,
) -> None:
    """Answer Prometheus for queues, streams, refreshes, profiles and the database, until told to stop."""
    from retort.offline.monitoring.serve import serve_metrics

    serve_metrics(host, port, profiles_every_s)


@app.command()
def status(
    run_id: Annotated[str | None, typer.Argument(help="one run; none: the latest")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="until it ends")] = False,
) -> None:
    """How far submitted recipes are."""
    from retort.offline.cli.jobs import show_status

    show_status(run_id, watch=watch)


@app.command()
def bootstrap(
    recipe: Annotated[str, typer.Argument(help="a shipped recipe's name, a .toml file, or `none`")] = "demo",
    data: DataDir = None,
    out: OutDir = Path("runs"),
) -> None:
    """Where nothing serves yet: have workers make and publish a first bundle, and load its histories."""
    from retort.offline.cli.bootstrap import bootstrap as act

    typer.echo(act(recipe, data, out))


for action in (
    models_cli.publish,
    models_cli.promote,
    models_cli.rollback,
    models_cli.models,
    models_cli.recommend,
    plan,
):
    app.command()(action)


@app.command()
def compare(
    a: Annotated[list[Path], typer.Argument(help="users.parquet of the baseline runs, one a seed")],
    b: Annotated[list[Path], typer.Option("--with", help="users.parquet of the variant's runs, one a seed")],
    metric: Annotated[str, typer.Option(help="hr, ndcg or mrr at a k")] = "ndcg@10",
) -> None:
    """Is one run better than another? Paired by user, with an interval."""
    from retort.offline.cli.measure import compare_runs

    typer.echo(compare_runs(a, b, metric))


@app.command()
def evaluate(
    recipe: RecipeName,
    through: Annotated[str, typer.Option(help="URL of a running server, such as http://127.0.0.1:8000")],
    data: DataDir = None,
    out: OutDir = Path("runs"),
    overrides: Overrides = None,
    by_events: Annotated[bool, typer.Option(help="post histories as events first, ask by user_id")] = False,
    api_key: Annotated[str | None, typer.Option(envvar="RETORT_API_KEY", help="where the server wants one")] = None,
) -> None:
    """Ask the recipe's test over HTTP and measure the answers; beside them what the bundle was sealed with."""
    from retort.offline.cli.measure import evaluate_through

    evaluate_through(recipe, through, data, out, overrides or [], by_events=by_events, api_key=api_key)


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
    from retort.offline.cli.reproduce import reproduce_paper

    reproduce_paper(paper, dataset, data, out, modes, overrides or [])


@app.command()
def ctr(
    file: Annotated[str, typer.Argument(help="a shipped comparison (ml1m), or a .toml file with [ctr]")],
    data: DataDir = None,
    out: OutDir = Path("runs"),
    overrides: Overrides = None,
) -> None:
    """DeepFM and DCN-v2 with profiles as input (KAR) and as a lesson (LLM-KT), by AUC; offline only."""
    from retort.offline.cli.ctr import compare_ctr

    compare_ctr(file, data, out, overrides or [])


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def serve(context: typer.Context) -> None:
    """Start the API (the same as `retort-serve`; needs the `serving` extra)."""
    import os

    os.execv(sys.executable, [sys.executable, "-m", "retort.serving", *context.args])  # noqa: S606 - fixed program


@app.command()
def demo(
    leave: Annotated[bool, typer.Option("--exit", help="end after the answers instead of serving on")] = False,
) -> None:
    """The whole line on made-up data: profiles to answers over HTTP."""
    from retort.offline.cli.demo import run_demo

    run_demo(leave=leave)


if __name__ == "__main__":
    main()
