"""`retort ctr FILE`: what the same knowledge brings to click models, as input and as a lesson, by AUC."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from retort.offline.common.database import migrate_and_open
from retort.offline.common.terminal import TerminalProgress
from retort.offline.ctr.run import compare, read_file
from retort.offline.ctr.train import Outcome
from retort.offline.evaluation.interval import interval
from retort.offline.recipes.recipe import parse_override
from retort.shared.base.settings import Settings


def compare_ctr(reference: str, data: Path | None, out: Path, overrides: list[str]) -> None:
    """Run every arm and print the table."""
    recipe, config = read_file(reference, dict(parse_override(one) for one in overrides))
    engine = migrate_and_open(Settings())
    where = data.absolute() if data else None
    with TerminalProgress() as progress:
        outcomes = compare(recipe, config, where, engine, progress, out)
    Console().print(table_of(outcomes))


def table_of(outcomes: list[Outcome]) -> Table:
    """Each arm beside its model's base, paired by seed; ± is the 95 % interval over seeds."""
    rows: dict[tuple[str, str], list[Outcome]] = {}
    for one in outcomes:
        rows.setdefault((one.model, one.arm), []).append(one)
    n_seeds = len({one.seed for one in outcomes})
    table = Table("model", "arm", "AUC", "to base", "log loss", "parameters", title=f"test, mean of {n_seeds} seeds")
    for (model, arm), mine in rows.items():
        base = {one.seed: one.auc for one in rows.get((model, "base"), [])}
        gains = [one.auc - base[one.seed] for one in mine if one.seed in base]
        log_loss, _ = interval([one.log_loss for one in mine])
        cells = (_told([one.auc for one in mine]), _told(gains, "+") if gains else "–", f"{log_loss:.4f}")
        table.add_row(model, arm, *cells, f"{mine[0].n_parameters:,}")
    return table


def _told(values: list[float], sign: str = "") -> str:
    mean, half = interval(values)
    return f"{mean:{sign}.4f}" if half is None else f"{mean:{sign}.4f} ± {half:.4f}"
