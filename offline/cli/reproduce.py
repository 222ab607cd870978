"""`retort reproduce PAPER`: the paper's numbers beside ours."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from retort.offline.common.database import migrate_and_open
from retort.offline.common.terminal import TerminalProgress
from retort.offline.experiments.reproduce import MODES, Reproduced, reproduce, rows_of
from retort.offline.pipeline.context import make_context
from retort.shared.base.errors import RecipeError
from retort.shared.base.settings import Settings


def reproduce_paper(
    paper: str, dataset: str | None, data: Path | None, out: Path, modes: str, overrides: list[str]
) -> None:
    """Run the paper's recipes on the raw files in `data`, and print the table."""
    chosen = [mode for mode in MODES if mode in [one.strip() for one in modes.split(",")]]
    if not chosen:
        raise RecipeError(f"--modes {modes!r} names none of: {', '.join(MODES)}.")
    rows = rows_of(paper, dataset, chosen, overrides)
    if not rows:
        raise RecipeError(f"no recipe of {paper} is shipped with this version.")
    if dataset is None and len({row.dataset for row in rows}) > 1:
        names = ", ".join(dict.fromkeys(row.dataset for row in rows))
        raise RecipeError(f"{paper} has several data sets ({names}); name the one that lies in --data by --dataset.")
    engine = migrate_and_open(Settings())
    found = []
    with TerminalProgress() as progress:
        for row in rows:
            progress.say(f"── {row.recipe.name}")
            found.append(reproduce(row, make_context(row.recipe, data, engine, progress), out))
    Console().print(table_of(paper, found))


def table_of(paper: str, found: list[Reproduced]) -> Table:
    """One line a run and metric: what the paper printed, what came out here."""
    table = Table("recipe", "student", "mode", "metric", "printed", "here", title=f"{paper}, printed and reproduced")
    for one in found:
        for metric in one.printed or ("hr@10", "ndcg@10"):
            printed = f"{one.printed[metric]:.4f}" if metric in one.printed else "–"
            here = f"{one.measured[metric]:.4f}" if metric in one.measured else "–"
            table.add_row(one.recipe, one.student, one.mode, metric, printed, here)
    return table
