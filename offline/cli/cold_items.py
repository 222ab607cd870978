"""`retort experiment cold-items`."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from retort.offline.common.database import migrate_and_open
from retort.offline.common.terminal import TerminalProgress, show_rows
from retort.offline.experiments.cold_items import Study
from retort.offline.recipes.recipe import Recipe
from retort.shared.base.settings import Settings


def cold_items_table(
    recipe: Recipe, data: Path | None, out: Path, to: Path, encoders: Sequence[str] | None, share: float, n_seeds: int
) -> Path:
    """Show the table and write it as CSV; its path."""
    asked = encoders or [recipe.encoder.model]
    with TerminalProgress() as progress:
        rows = Study(recipe, data, out, asked, share, range(n_seeds), migrate_and_open(Settings()), progress).rows()
    show_rows(rows, f"new items of {recipe.name}")
    to.mkdir(parents=True, exist_ok=True)
    path = to / "cold_items.csv"
    pl.DataFrame(rows).write_csv(path, float_precision=6)
    return path
