"""Runs the arms of an experiment and keeps what came out as a table (CSV) and a picture (PNG)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from retort.offline.common.database import migrate_and_open
from retort.offline.common.progress import Progress
from retort.offline.evaluation.compare import compare
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import make_context
from retort.offline.pipeline.outcome import Outcome, run_pipeline
from retort.offline.recipes.recipe import Recipe, load_recipe
from retort.shared.base.errors import RecipeError
from retort.shared.base.settings import Settings

METRIC = "ndcg@10"
_RESAMPLES = 2000


@dataclass(frozen=True)
class Arm:
    """One way to train: what it is called in the table, where it stands on the x-axis, what came out by seed."""

    name: str
    x: float
    outcomes: tuple[Outcome, ...]

    @property
    def per_user(self) -> list[pl.DataFrame]:
        """user_id, rank, history_length of each test case; one frame for each seed."""
        return [pl.read_parquet(outcome.per_user) for outcome in self.outcomes]


@dataclass(frozen=True)
class Arms:
    """Where arms run."""

    reference: str
    data: Path | None
    out: Path
    overrides: list[str]
    progress: Progress
    seeds: tuple[int, ...] = (0,)

    def run(self, name: str, x: float, more: Sequence[str] = (), *, plain: bool = False) -> Arm:
        """One arm: the recipe with more keys set, or the same without its teacher."""
        return Arm(name, x, tuple(self._run_seed(name, seed, more, plain) for seed in self.seeds))

    def _run_seed(self, name: str, seed: int, more: Sequence[str], plain: bool) -> Outcome:
        recipe = load_recipe(self.reference, [*self.overrides, *more, f"training.seed={seed}"])
        if recipe.is_plain:
            raise RecipeError(f"recipe {recipe.name} has no teacher; experiments about profiles want one that has.")
        chosen = recipe.plain() if plain else recipe
        self.progress.say(f"── {name}, seed {seed}")
        return run_pipeline(make_pipeline(make_context(chosen, self.data, self._engine(), self.progress), self.out))

    def recipe(self) -> Recipe:
        """As the arms start from."""
        return load_recipe(self.reference, self.overrides)

    def _engine(self) -> Any:
        return migrate_and_open(Settings())


def against(plain: Arm, arm: Arm, users: pl.DataFrame | None = None) -> dict[str, Any]:
    """One row of a table: the arm beside the plain run, with the paired interval. users: only their cases."""
    first, second = plain.per_user, arm.per_user
    if users is not None:
        first, second = (
            [frame.join(users, on="user_id", how="semi") for frame in frames] for frames in (first, second)
        )
    found = compare(first, second, METRIC, resamples=_RESAMPLES)
    return {
        "arm": arm.name,
        "x": arm.x,
        "users": found.users,
        "seeds": found.seeds,
        f"plain {METRIC}": found.a,
        METRIC: found.b,
        "gain": found.difference,
        "gain low": found.low,
        "gain high": found.high,
        "p": found.p,
    }


def keep(
    folder: Path, name: str, rows: list[dict[str, Any]], x_label: str, *, log_x: bool = False
) -> tuple[Path, Path]:
    """Write the table and its picture; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    table, picture = folder / f"{name}.csv", folder / f"{name}.png"
    frame = pl.DataFrame(rows)
    frame.write_csv(table, float_precision=6)
    _draw(frame, picture, name, x_label, log_x)
    return table, picture


def _draw(frame: pl.DataFrame, path: Path, title: str, x_label: str, log_x: bool) -> None:
    """Gain over the plain run with its interval, one line for each kind of arm."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)  # no display is needed, and no state is shared
    axes = figure.subplots()
    kinds = frame.with_columns(kind=pl.col("arm").str.split(":").list.first())
    for (kind,), rows in kinds.sort("x", maintain_order=True).group_by(["kind"], maintain_order=True):
        gain = rows["gain"].to_numpy()
        below, above = gain - rows["gain low"].to_numpy(), rows["gain high"].to_numpy() - gain
        axes.errorbar(rows["x"], gain, yerr=[below.clip(0), above.clip(0)], marker="o", capsize=3, label=str(kind))
    axes.axhline(0.0, color="grey", linewidth=0.8)
    if log_x:
        places = sorted(set(frame["x"]))
        axes.set_xscale("log")
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.minorticks_off()
    axes.set(xlabel=x_label, ylabel=f"gain in {METRIC} over the plain run (95 %)", title=title)
    axes.legend()
    figure.savefig(path, dpi=120)
