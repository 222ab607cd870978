"""The `retort experiment` command group: arms that are compared in tables, pictures and verdicts."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retort.offline.cli._options import AsJson, DataDir, Overrides
from retort.offline.common.terminal import TerminalProgress, show_rows
from retort.shared.base.errors import RecipeError

if TYPE_CHECKING:
    from retort.offline.experiments.plan import Plan
    from retort.offline.experiments.run_unit import Experiment
    from retort.offline.experiments.unit import Selection, Unit
    from retort.offline.recipes.recipe import Recipe

experiment_app = typer.Typer(help="Compare methods and controls: tables, pictures and verdicts.", no_args_is_help=True)
_Out = Annotated[Path, typer.Option("--out", help="run directory; finished units in it are reused")]


@experiment_app.command()
def run(
    file: Annotated[Path, typer.Argument(help="an experiment file, or the name of a shipped one")],
    data: DataDir = None,
    out: _Out = Path("runs"),
    workers: Annotated[int, typer.Option(min=1, help="processes on this machine, one thread each")] = 1,
    only: Annotated[list[str] | None, typer.Option(help="run this arm alone; may be repeated")] = None,
    student: Annotated[list[str] | None, typer.Option(help="run this student alone; may be repeated")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="run only the first N seeds of the file")] = None,
    submit: Annotated[
        bool, typer.Option("--submit", help="run on Celery workers: `retort worker --queues gpu-train`")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="repeat units that are done already")] = False,
    overrides: Overrides = None,
    name: Annotated[str | None, typer.Option(help="name of the experiment; required with --set")] = None,
) -> None:
    """Run a grid of arms, students and seeds. The same command resumes an interrupted experiment."""
    from retort.offline.experiments.plan_files import read_plan
    from retort.offline.experiments.unit import Selection

    plan, selection = read_plan(file, overrides or [], name), Selection(only, student, seeds)
    typer.echo(run_experiment(plan, data, out, None if submit else workers, selection, again=again))


@experiment_app.command()
def report(
    experiments: Annotated[
        list[Path], typer.Argument(help="files or names of experiments, or their folders OUT/experiments/NAME")
    ],
    out: _Out = Path("runs"),
    to: Annotated[
        Path | None, typer.Option("--to", help="write all into one page; its other sections are kept")
    ] = None,
) -> None:
    """Write tables (Markdown, Parquet), pictures and verdicts of the finished runs."""
    for path in report_experiments(experiments, out, to):
        typer.echo(path)


@experiment_app.command()
def publish(
    experiments: Annotated[
        list[Path], typer.Argument(help="files or names of experiments, or their folders OUT/experiments/NAME")
    ],
    out: _Out = Path("runs"),
    remove: Annotated[bool, typer.Option("--remove", help="remove the tables of these names instead")] = False,
) -> None:
    """Store the tables of finished runs in the database, where the console's page Experiments shows them."""
    from retort.offline.cli.experiment_tables import publish_tables, remove_tables

    if remove:
        lines = remove_tables([path.stem if path.suffix == ".toml" else path.name for path in experiments])
    else:
        lines = publish_tables([_find_experiment(path, out) for path in experiments])
    for line in lines:
        typer.echo(line)


def _add_profile_experiment(kind: str, description: str) -> None:
    """Add a command for an experiment about profiles; all of them take the same options."""

    def command(
        recipe: Annotated[str, typer.Argument(help="a recipe with a teacher")],
        data: DataDir = None,
        out: _Out = Path("runs"),
        to: Annotated[Path, typer.Option("--to", help="directory for the table and the picture")] = Path("experiments"),
        overrides: Overrides = None,
        seeds: Annotated[
            int, typer.Option(min=1, help="trainings of each arm; with several, the interval covers the seeds too")
        ] = 1,
        as_json: AsJson = False,
    ) -> None:
        for path in compare_profiles(kind, recipe, data, out, to, overrides or [], seeds, as_json=as_json):
            typer.echo(path, err=as_json)

    experiment_app.command(kind, help=description)(command)


_add_profile_experiment("staleness", "Gain when profiles cover only 100, 90, 75, 50 or 25 % of each history.")
_add_profile_experiment("coldstart", "Gain by the length of the history.")
_add_profile_experiment("robustness", "Gain when a share of the profiles belongs to other users, or is nonsense.")


@experiment_app.command("cold-items")
def cold(
    recipe: Annotated[str, typer.Argument(help="a recipe of a student that can score new items: sasrec, gru4rec")],
    data: DataDir = None,
    out: _Out = Path("runs"),
    to: Annotated[Path, typer.Option("--to", help="directory for the table")] = Path("experiments"),
    encoder: Annotated[
        list[str] | None, typer.Option(help="a text encoder; may be repeated; unset: the recipe's encoder")
    ] = None,
    share: Annotated[float, typer.Option(help="share of the items that is hidden from training")] = 0.1,
    draw: Annotated[int, typer.Option(min=0, help="seed of the drawing of the hidden items")] = 0,
    places: Annotated[
        float | None,
        typer.Option(help="largest share of the places in lists of ten for new items; unset: their share of the items"),
    ] = None,
    overrides: Overrides = None,
    seeds: Annotated[int, typer.Option(min=1, help="trainings; with several, the interval covers the seeds too")] = 1,
    as_json: AsJson = False,
) -> None:
    """Rank new items by their texts alone, and compare language models with word counts."""
    from retort.offline.recipes.recipe import load_recipe

    loaded = load_recipe(recipe, overrides or [])
    typer.echo(
        cold_items_table(loaded, data, out, to, encoder, share, seeds, draw, places, as_json=as_json), err=as_json
    )


def run_experiment(
    plan: "Plan", data: Path | None, out: Path, workers: int | None, selection: "Selection", *, again: bool
) -> Path:
    """Run a plan. workers: processes on this machine; None: Celery workers. Returns the folder with the records."""
    from retort.offline.cli.run import worker_redis
    from retort.offline.common.database import migrate_and_open
    from retort.offline.experiments.mlflow_log import MlflowSettings, logged_to
    from retort.offline.experiments.plan_files import check_comparability
    from retort.offline.experiments.run_unit import Experiment, check_units, read_data
    from retort.offline.experiments.scheduler import run_in_processes, run_inline, run_units
    from retort.offline.experiments.unit_tasks import MAX_WAITING, by_workers
    from retort.offline.jobs.celery_app import make_app
    from retort.offline.pipeline.preflight import check_disk
    from retort.shared.base.settings import Settings

    check_comparability(plan)
    experiment = Experiment.open(plan, data.absolute() if data else None, out.absolute())
    engine = migrate_and_open(Settings())  # once, before several processes would do it
    log = logged_to(MlflowSettings().mlflow_tracking_uri, plan.name)
    with TerminalProgress() as progress:

        def before(units: "Sequence[Unit]") -> None:
            check_disk(out)
            read_data(experiment, engine, progress)
            if workers is not None:  # models and files of Celery workers may be on their machines only
                check_units(experiment, units, engine, progress)

        run = partial(run_units, again=again, log=log, before=before)
        if workers is None:
            with by_workers(make_app(worker_redis()), engine, again=again) as submit:
                run(experiment, progress, submit, MAX_WAITING, selection)
        elif workers == 1:
            run(experiment, progress, run_inline(progress), 1, selection)
        else:
            with run_in_processes(workers) as submit:
                run(experiment, progress, submit, workers, selection)
    return experiment.folder


def report_experiments(references: Sequence[Path], out: Path, page: Path | None = None) -> list[Path]:
    """Write each experiment's report into its folder, or one page of all; references: files, shipped names, folders."""
    from retort.offline.experiments.report import write_page, write_report
    from retort.offline.experiments.results import load_results

    results = [load_results(_find_experiment(reference, out)) for reference in references]
    return [write_report(result) for result in results] if page is None else [write_page(results, page)]


def compare_profiles(
    kind: str,
    recipe: str,
    data: Path | None,
    out: Path,
    to: Path,
    overrides: Sequence[str],
    n_seeds: int,
    *,
    as_json: bool = False,
) -> tuple[Path, Path]:
    """Run a shipped experiment about profiles on a recipe and show its table. Returns table and picture."""
    from retort.offline.experiments.plan_files import read_profile_plan
    from retort.offline.experiments.report import write_comparison
    from retort.offline.experiments.results import load_results
    from retort.offline.experiments.run_unit import load_experiment
    from retort.offline.experiments.unit import Selection

    plan = read_profile_plan(kind, recipe, overrides, n_seeds)
    folder = run_experiment(plan, data, out, 1, Selection(), again=False)
    rows, table, picture = write_comparison(load_results(load_experiment(folder)), to, kind)
    show_rows(rows, f"{kind} of {recipe}, ndcg@10", as_json=as_json, stderr=True)
    return table, picture


def _find_experiment(reference: Path, out: Path) -> "Experiment":
    from retort.offline.experiments.plan_files import read_plan
    from retort.offline.experiments.run_unit import EXPERIMENTS, PLAN_FILE, load_experiment

    if (reference / PLAN_FILE).is_file():
        return load_experiment(reference)
    if reference.is_dir():
        raise RecipeError(
            f"{reference} holds no experiment ({PLAN_FILE} is missing); name a folder below OUT/{EXPERIMENTS}."
        )
    return load_experiment(out / EXPERIMENTS / read_plan(reference).name)


def cold_items_table(
    recipe: "Recipe",
    data: Path | None,
    out: Path,
    to: Path,
    encoders: Sequence[str] | None,
    share: float,
    n_seeds: int,
    draw: int = 0,
    places: float | None = None,
    *,
    as_json: bool = False,
) -> Path:
    """Show the table and write it as CSV; its path."""
    import polars as pl

    from retort.offline.common.database import migrate_and_open
    from retort.offline.experiments.cold_items import ColdItemExperiment
    from retort.shared.base.settings import Settings

    names = encoders or ([] if recipe.encoder.views else [recipe.encoder.model])
    with TerminalProgress() as progress:
        engine = migrate_and_open(Settings())
        seeds = range(n_seeds)
        experiment = ColdItemExperiment(recipe, data, out, names, share, seeds, engine, progress, draw, places)
        rows = experiment.run()
    show_rows(rows, f"new items of {recipe.name}", as_json=as_json, stderr=True)
    to.mkdir(parents=True, exist_ok=True)
    path = to / "cold_items.csv"
    pl.DataFrame(rows).write_csv(path, float_precision=6)
    return path
