"""`retort run`: the whole line in one process, and the table at its end."""

import time
from pathlib import Path

import orjson
import polars as pl
from rich.console import Console
from rich.table import Table

from retort.offline.common.database import migrate_and_open
from retort.offline.common.terminal import TerminalProgress
from retort.offline.evaluation.compare import Comparison, compare
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import make_context
from retort.offline.pipeline.outcome import Outcome, run_pipeline
from retort.offline.recipes.recipe import Recipe, load_recipe
from retort.shared.base.settings import Settings

_COLUMNS = ("hr@10", "ndcg@10")


def run_recipe(
    reference: str, data: Path | None, out: Path, overrides: list[str], *, as_json: bool, beside_plain: bool
) -> None:
    """Run a recipe, and the same without its teacher beside it; print what came out."""
    started = time.perf_counter()
    recipe = load_recipe(reference, overrides)
    engine = migrate_and_open(Settings())
    arms = [recipe] if recipe.is_plain or not beside_plain else [recipe.plain(), recipe]
    with TerminalProgress() as progress:
        outcomes = []
        for arm in arms:
            progress.say(f"── {arm.name}, protocol {arm.protocol}")
            outcomes.append(run_pipeline(make_pipeline(make_context(arm, data, engine, progress), out)))
    show(Console(stderr=True), arms, outcomes)
    last = outcomes[-1]
    if as_json:
        said = {
            "bundle": str(last.bundle.absolute()),
            "test": last.test,
            "validation": last.validation,
            "seconds": round(time.perf_counter() - started, 1),
        }
        print(orjson.dumps(said).decode())
    else:
        print(last.bundle)


def show(console: Console, arms: list[Recipe], outcomes: list[Outcome]) -> None:
    """Plain beside distilled beside popularity, on all users and on the subsets, and the verdict."""
    table = Table(title=f"test, protocol {arms[0].protocol}, full ranking")
    for column in ("users", "cases", "student", *_COLUMNS):
        table.add_column(column, justify="left" if column in ("users", "student") else "right")
    first = outcomes[0]
    cases = str(pl.read_parquet(first.per_user).height)
    for baseline, metrics in first.baselines.items():
        table.add_row("all", cases, baseline, *_values(metrics))
    for arm, outcome in zip(arms, outcomes, strict=True):
        table.add_row("all", cases, "plain" if arm.is_plain else "distilled", *_values(outcome.test))
    for name in (name for name in first.slices if name.startswith("subset ")):
        for arm, outcome in zip(arms, outcomes, strict=True):
            metrics = outcome.slices[name]
            kind = "plain" if arm.is_plain else "distilled"
            table.add_row(name.removeprefix("subset "), f"{metrics['cases']:.0f}", kind, *_values(metrics))
    console.print(table)
    if len(outcomes) == 2:
        for metric in _COLUMNS:
            console.print(_verdict(outcomes[0], outcomes[1], metric).sentence(), markup=False, highlight=False)


def _verdict(plain: Outcome, distilled: Outcome, metric: str) -> Comparison:
    return compare([pl.read_parquet(plain.per_user)], [pl.read_parquet(distilled.per_user)], metric, resamples=2000)


def _values(metrics: dict[str, float]) -> list[str]:
    return [f"{metrics[column]:.4f}" if column in metrics else "–" for column in _COLUMNS]
