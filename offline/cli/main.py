"""The `retort` command line: the Typer application, its commands and its error handling.

Command modules define the Typer commands and import heavy libraries inside functions, so that `--help` stays fast.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from retort.offline.cli import bundles, measure, refresh_jobs, run
from retort.offline.cli._options import DataDir, OutDir
from retort.offline.cli.data import data_app, db_app, history_app
from retort.offline.cli.doctor import doctor
from retort.offline.cli.events import events_app
from retort.offline.cli.experiment import experiment_app
from retort.offline.cli.import_export import import_export
from retort.offline.cli.items import knowledge_app
from retort.offline.cli.plan import plan
from retort.offline.cli.profiles import profiles_app
from retort.offline.cli.quickstart import quickstart
from retort.offline.cli.recipes import recipes
from retort.offline.cli.retrain import retrain
from retort.offline.local.subprocesses import exit_on_sigterm
from retort.shared.base.disk import disk_full_sentence, is_disk_full
from retort.shared.base.early_exit import INTERRUPTED, TERMINATED, exit_line
from retort.shared.base.errors import RetortError

app = typer.Typer(
    name="retort",
    help="Recommenders that know what a language model knows, and answer without one.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
# Groups of commands in the help.
_START = "Start here"
_DATA, _TRAIN, _PROFILES = "Data and histories", "Train and compare", "Profiles"
_SERVE, _OPERATE = "Publish and serve", "Workers and operation"
app.add_typer(data_app, name="data", rich_help_panel=_DATA)
app.add_typer(db_app, name="db", rich_help_panel=_OPERATE)
app.add_typer(events_app, name="events", rich_help_panel=_DATA)
app.add_typer(history_app, name="history", rich_help_panel=_DATA)
app.add_typer(refresh_jobs.app, name="refresh", rich_help_panel=_PROFILES)
app.add_typer(profiles_app, name="profiles", rich_help_panel=_PROFILES)
app.add_typer(experiment_app, name="experiment", rich_help_panel=_TRAIN)
bundles.items_app.add_typer(knowledge_app, name="knowledge")
app.add_typer(bundles.items_app, name="items", rich_help_panel=_SERVE)


def main() -> None:
    """Run the command.

    Exit status: 2 with one sentence for a RetortError or an OSError, 130 for Ctrl-C, 143 for SIGTERM.
    """
    try:
        with exit_on_sigterm():
            app()
    except RetortError as error:
        _exit(str(error))
    except Exception as error:
        if is_disk_full(error):
            _exit(disk_full_sentence())
        if not isinstance(error, OSError):
            raise
        where = f"{error.filename}: " if error.filename else ""
        why = error.strerror or str(error)
        _exit(f"{where}{why}; check the path, permissions and free disk space, and run the same command again.")
    except KeyboardInterrupt:  # while Typer made the command
        _exit_by_signal(INTERRUPTED)
    except SystemExit as left:
        if left.code in (INTERRUPTED, TERMINATED):  # Typer exits without a message
            _exit_by_signal(left.code)
        raise


def _exit_by_signal(status: int) -> NoReturn:
    sys.stderr.write(exit_line("retort", status, "; finished work is kept, and the same command resumes."))
    sys.exit(status)


def _exit(sentence: str) -> NoReturn:
    sys.stderr.write(f"retort: {sentence}\n")
    sys.exit(2)


def _show_version(given: bool) -> None:
    if given:
        from importlib.metadata import version

        typer.echo(f"retort {version('retort-recsys')}")
        raise typer.Exit


@app.callback()
def prepare(
    version: Annotated[
        bool, typer.Option("--version", help="print the version", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Recommenders that know what a language model knows, and answer without one."""
    from retort.shared.base.logging import configure_logging
    from retort.shared.base.settings import Settings

    settings = Settings()  # before every command, so that an invalid one is reported first
    configure_logging(settings.log_level if settings.log_json else "WARNING", as_json=settings.log_json)
    if settings.retort_traces:
        from retort.offline.common.tracing import trace_offline

        trace_offline()


app.command(rich_help_panel=_START)(quickstart)
app.command("import", rich_help_panel=_DATA)(import_export)
app.command(rich_help_panel=_TRAIN)(recipes)
app.command(rich_help_panel=_TRAIN)(run.run)
app.command(rich_help_panel=_TRAIN)(run.submit)
app.command(rich_help_panel=_START)(run.report)
app.command(rich_help_panel=_TRAIN)(retrain)


@app.command(rich_help_panel=_OPERATE)
def worker(
    queues: Annotated[str, typer.Option(help="queues to consume, comma-separated")] = "cpu,gpu-train,gpu-llm",
) -> None:
    """Work on submitted recipes and refreshes until SIGTERM or Ctrl-C: one worker a GPU."""
    from retort.offline.cli.worker import work

    work([queue.strip() for queue in queues.split(",") if queue.strip()])


@app.command(rich_help_panel=_OPERATE)
def metrics(
    host: Annotated[str, typer.Option(help="address to bind; the metrics hold no secret and no user")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port")] = 9108,
    profiles_every_s: Annotated[float, typer.Option(min=1.0, help="seconds between two scans of all profiles")] = 300.0,
) -> None:
    """Serve Prometheus metrics of queues, streams, refreshes, profiles and the database until SIGTERM or Ctrl-C."""
    from retort.offline.monitoring.serve import serve_metrics

    serve_metrics(host, port, profiles_every_s)


app.command(rich_help_panel=_TRAIN)(run.status)
app.command(rich_help_panel=_START)(doctor)


@app.command(rich_help_panel=_OPERATE)
def bootstrap(
    recipe: Annotated[str, typer.Argument(help="a shipped recipe's name, a .toml file, or `none`")] = "demo",
    data: DataDir = None,
    out: OutDir = Path("runs"),
) -> None:
    """Make and publish the first bundle by workers, if none serves yet, and load its histories."""
    from retort.offline.cli.bootstrap import bootstrap as make_first_bundle

    typer.echo(make_first_bundle(recipe, data, out))


for panel, commands in {
    _SERVE: (bundles.publish, bundles.promote, bundles.rollback, bundles.models, bundles.recommend),
    _PROFILES: (plan,),
    _TRAIN: (measure.compare, measure.evaluate, measure.reproduce, measure.ctr),
}.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, rich_help_panel=_SERVE)
def serve(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="address to bind; unset: RETORT_HOST, or 127.0.0.1")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="0: any free port; unset: RETORT_PORT, or 8000")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="a bundle's directory; unset: RETORT_BUNDLE, or the champion of the registry")
    ] = None,
    alias: Annotated[str | None, typer.Option(help="alias to follow; unset: RETORT_ALIAS, or champion")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="processes; unset: RETORT_WORKERS, or 1")] = None,
) -> None:
    """Start the API (the same as `retort-serve`; needs the `serving` extra). Options win over RETORT_ variables."""
    if bundle is not None and alias is not None:
        raise RetortError("--bundle and --alias exclude each other: a server has one bundle, or follows an alias.")
    options: dict[str, object] = {"HOST": host, "PORT": port, "BUNDLE": bundle, "ALIAS": alias, "WORKERS": workers}
    if alias is not None:
        from retort.shared.base.settings import UNSET

        options["BUNDLE"] = UNSET
    environment = {f"RETORT_{name}": str(value) for name, value in options.items() if value is not None}
    command = [sys.executable, "-m", "retort.serving", *context.args]
    os.execve(sys.executable, command, {**os.environ, **environment})  # noqa: S606 - fixed program


@app.command(rich_help_panel=_START)
def demo(
    leave: Annotated[bool, typer.Option("--exit", help="end after the answers instead of serving on")] = False,
) -> None:
    """Run the whole pipeline on made-up data: profiles, training, serving over HTTP."""
    from retort.offline.cli.demo import run_demo

    run_demo(leave=leave)


if __name__ == "__main__":
    main()
