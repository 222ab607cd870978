"""`retort experiment …`: each writes a table and a picture."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="What knowledge is worth, measured: tables, pictures and verdicts.", no_args_is_help=True)
_Data = Annotated[Path | None, typer.Option("--data", help="directory of the raw files")]
_Out = Annotated[Path, typer.Option("--out", help="run directory; finished arms in it are reused")]
_Set = Annotated[list[str] | None, typer.Option("--set", help="section.key=value")]


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="an experiment file: arms, students, seeds, search")],
    data: _Data = None,
    out: _Out = Path("runs"),
    workers: Annotated[int, typer.Option(min=1, help="processes on this machine, one thread each")] = 1,
    only: Annotated[list[str] | None, typer.Option(help="this arm alone; may be repeated")] = None,
    student: Annotated[list[str] | None, typer.Option(help="this student alone; may be repeated")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="only the first so many of the file's, this time")] = None,
    submit: Annotated[bool, typer.Option("--submit", help="by Celery: `retort worker --queues gpu-train`")] = False,
    again: Annotated[bool, typer.Option("--again", help="do anew what is done already")] = False,
    overrides: _Set = None,
    name: Annotated[str | None, typer.Option(help="what it is called; needed with --set")] = None,
) -> None:
    """Do a grid of arms, students and seeds; the same command goes on where it was interrupted."""
    from retort.offline.cli.experiment import run_experiment
    from retort.offline.experiments.plan import read_plan
    from retort.offline.experiments.selection import Selection

    plan, selection = read_plan(file, overrides or [], name), Selection(only, student, seeds)
    typer.echo(run_experiment(plan, data, out, None if submit else workers, selection, again=again))


@app.command()
def report(
    experiments: Annotated[
        list[Path], typer.Argument(help="files or names of experiments, or their folders OUT/experiments/NAME")
    ],
    out: _Out = Path("runs"),
    to: Annotated[Path | None, typer.Option("--to", help="into a page, beside what stands there")] = None,
) -> None:
    """Tables (Markdown, Parquet), pictures and verdicts of what is finished."""
    from retort.offline.cli.experiment import report_experiments

    for path in report_experiments(experiments, out, to):
        typer.echo(path)


def _about_profiles(name: str, told: str) -> None:
    """Add one experiment about profiles: all of them take the same words."""

    def command(
        recipe: Annotated[str, typer.Argument(help="a recipe with a teacher")],
        data: _Data = None,
        out: _Out = Path("runs"),
        to: Annotated[Path, typer.Option("--to", help="directory for the table and the picture")] = Path("experiments"),
        overrides: _Set = None,
        seeds: Annotated[
            int, typer.Option(min=1, help="trainings of each arm; the interval then covers their luck too")
        ] = 1,
    ) -> None:
        _run(name, recipe, data, out, to, overrides or [], seeds)

    app.command(name, help=told)(command)


_about_profiles("staleness", "Accuracy when profiles saw only 100, 90, 75, 50, 25 % of each history.")
_about_profiles("coldstart", "Gain by length of the history.")
_about_profiles("robustness", "Accuracy when a share of the profiles is somebody else's, or nonsense.")


@app.command("cold-items")
def cold(
    recipe: Annotated[str, typer.Argument(help="a recipe of a student that takes new items: sasrec, gru4rec")],
    data: _Data = None,
    out: _Out = Path("runs"),
    to: Annotated[Path, typer.Option("--to", help="directory for the table")] = Path("experiments"),
    encoder: Annotated[list[str] | None, typer.Option(help="a text encoder; may be repeated; unset: [encoder]")] = None,
    share: Annotated[float, typer.Option(help="share of the items that no training sees")] = 0.1,
    overrides: _Set = None,
    seeds: Annotated[int, typer.Option(min=1, help="trainings; the interval then covers their luck too")] = 1,
) -> None:
    """New items, placed by their texts alone: what a language model adds to word counts."""
    from retort.offline.cli.cold_items import cold_items_table
    from retort.offline.recipes.recipe import load_recipe

    typer.echo(cold_items_table(load_recipe(recipe, overrides or []), data, out, to, encoder, share, seeds))


def _run(name: str, recipe: str, data: Path | None, out: Path, to: Path, overrides: list[str], seeds: int) -> None:
    from retort.offline.common.terminal import TerminalProgress, show_rows
    from retort.offline.experiments.arms import Arms
    from retort.offline.experiments.profiles import EXPERIMENTS

    with TerminalProgress() as progress:
        arms = Arms(recipe, data, out, overrides, progress, tuple(range(seeds)))
        rows, table, picture = EXPERIMENTS[name](arms, to)
    show_rows(rows, f"{name} of {recipe}")
    typer.echo(table)
    typer.echo(picture)
