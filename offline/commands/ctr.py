"""`retort ctr FILE`: what the same knowledge brings to click models, as input and as a lesson, by AUC."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from offline.commands._opening import open_tables
from offline.ctr.run import compare, means, read_file
from offline.ctr.train import Outcome
from offline.recipe import parse_override
from offline.terminal import TerminalProgress
from shared.settings import Settings


def compare_ctr(reference: str, data: Path | None, out: Path, overrides: list[str]) -> None:
    """Run every arm and print the table."""
    recipe, config = read_file(reference, dict(parse_override(one) for one in overrides))
    engine = open_tables(Settings())
    where = data.absolute() if data else None
    with TerminalProgress() as progress:
        outcomes = compare(recipe, config, where, engine, progress, out)
    Console().print(table_of(means(outcomes), len(config.seeds)))


def table_of(rows: list[Outcome], n_seeds: int) -> Table:
    """Each arm beside its model's base."""
    table = Table("model", "arm", "AUC", "to base", "log loss", "parameters", title=f"test, mean of {n_seeds} seeds")
    base = {row.model: row.auc for row in rows if row.arm == "base"}
    for row in rows:
        gain = f"{row.auc - base[row.model]:+.4f}" if row.model in base else "–"
        table.add_row(row.model, row.arm, f"{row.auc:.4f}", gain, f"{row.log_loss:.4f}", f"{row.n_parameters:,}")
    return table
