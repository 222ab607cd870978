"""Command group `retort experiment`: arms that are compared in tables, pictures and verdicts."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Compare methods and controls: tables, pictures and verdicts.", no_args_is_help=True)
_Data = Annotated[Path | None, typer.Option("--data", help="directory of the raw files")]
_Out = Annotated[Path, typer.Option("--out", help="run directory; finished units in it are reused")]
_Set = Annotated[list[str] | None, typer.Option("--set", help="section.key=value")]


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="an experiment file, or the name of a shipped one")],
    data: _Data = None,
    out: _Out = Path("runs"),
    workers: Annotated[int, typer.Option(min=1, help="processes on this machine, one thread each")] = 1,
    only: Annotated[list[str] | None, typer.Option(help="run this arm alone; may be repeated")] = None,
    student: Annotated[list[str] | None, typer.Option(help="run this student alone; may be repeated")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="run only the first N seeds of the file")] = None,
    submit: Annotated[
        bool, typer.Option("--submit", help="run on Celery workers: `retort worker --queues gpu-train`")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="repeat units that are done already")] = False,
    overrides: _Set = None,
    name: Annotated[str | None, typer.Option(help="name of the experiment; required with --set")] = None,
) -> None:
    """Run a grid of arms, students and seeds. The same command resumes an interrupted experiment."""
    from retort.offline.cli.experiment import run_experiment
    from retort.offline.experiments.plan_files import read_plan
    from retort.offline.experiments.unit import Selection

    plan, selection = read_plan(file, overrides or [], name), Selection(only, student, seeds)
    typer.echo(run_experiment(plan, data, out, None if submit else workers, selection, again=again))


@app.command()
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
    from retort.offline.cli.experiment import report_experiments

    for path in report_experiments(experiments, out, to):
        typer.echo(path)


def _add_profile_experiment(kind: str, description: str) -> None:
    """Add a command for an experiment about profiles; all of them take the same options."""

    def command(
        recipe: Annotated[str, typer.Argument(help="a recipe with a teacher")],
        data: _Data = None,
        out: _Out = Path("runs"),
        to: Annotated[Path, typer.Option("--to", help="directory for the table and the picture")] = Path("experiments"),
        overrides: _Set = None,
        seeds: Annotated[
            int, typer.Option(min=1, help="trainings of each arm; with several, the interval covers the seeds too")
        ] = 1,
    ) -> None:
        from retort.offline.cli.experiment import compare_profiles

        for path in compare_profiles(kind, recipe, data, out, to, overrides or [], seeds):
            typer.echo(path)

    app.command(kind, help=description)(command)


_add_profile_experiment("staleness", "Gain when profiles cover only 100, 90, 75, 50 or 25 % of each history.")
_add_profile_experiment("coldstart", "Gain by the length of the history.")
_add_profile_experiment("robustness", "Gain when a share of the profiles belongs to other users, or is nonsense.")


@app.command("cold-items")
def cold(
    recipe: Annotated[str, typer.Argument(help="a recipe of a student that can score new items: sasrec, gru4rec")],
    data: _Data = None,
    out: _Out = Path("runs"),
    to: Annotated[Path, typer.Option("--to", help="directory for the table")] = Path("experiments"),
    encoder: Annotated[
        list[str] | None, typer.Option(help="a text encoder; may be repeated; unset: the recipe's [encoder]")
    ] = None,
    share: Annotated[float, typer.Option(help="share of the items that is hidden from training")] = 0.1,
    overrides: _Set = None,
    seeds: Annotated[int, typer.Option(min=1, help="trainings; with several, the interval covers the seeds too")] = 1,
) -> None:
    """Rank new items by their texts alone, and compare language models with word counts."""
    from retort.offline.cli.cold_items import cold_items_table
    from retort.offline.recipes.recipe import load_recipe

    typer.echo(cold_items_table(load_recipe(recipe, overrides or []), data, out, to, encoder, share, seeds))
