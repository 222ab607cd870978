"""Training of the quickstart: the recipe's settings by the data's size, then a plain and a text-started student."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl
from sqlalchemy import Engine

from retort.offline.common.progress import Progress
from retort.offline.data.filters import share_of_repeated_last_events
from retort.offline.data.load import REPEATED_SHARE
from retort.offline.data.tables import load_saved
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import TRAINING_FILE, RunContext, make_context
from retort.offline.pipeline.dag import Pipeline
from retort.offline.pipeline.outcome import Outcome, run_pipeline
from retort.offline.quickstart.settings_by_size import Setting, Size
from retort.offline.recipes.recipe import Recipe, parse_recipe
from retort.offline.recipes.recipe_files import read_recipe
from retort.shared.base.errors import DataError

_LEAST_EVENTS = 3  # of a user: train, validation, test
_MAX_DAY_EVENTS = 2_000
_MAX_USER_EVENTS = 1_000
_FEW_CASES = 200
_REPEAT_HEAVY = 0.4  # share of last events that are repeats, as with groceries and music
FILTERS = (
    Setting("data.max_day_events", _MAX_DAY_EVENTS, "users with more events on one day are taken for robots"),
    Setting("data.max_user_events", _MAX_USER_EVENTS, "the newest events of a user that are used"),
)


@dataclass(frozen=True)
class Arm:
    """A trained student: its name, its finished pipeline and its outcome."""

    name: str
    pipeline: Pipeline[RunContext]
    outcome: Outcome

    @property
    def epochs(self) -> tuple[int, int]:
        """Epochs that were trained, and the one with the best validation, whose weights were kept."""
        training = self._training()
        return len(training["log"]), training["best_epoch"]

    @property
    def reached(self) -> str:
        """How far the training came."""
        last = self._training()["log"][-1]
        share = last.get("share", 1.0)
        return f"epoch {last['epoch']}" if share == 1 else f"{share:.0%} of the first epoch"

    def _training(self) -> dict[str, Any]:
        return orjson.loads((self.pipeline.ensure_path("train") / TRAINING_FILE).read_bytes())

    @property
    def was_cut(self) -> bool:
        """Whether the time budget ended the training, rather than early stopping or the last epoch."""
        config = self.pipeline.context.recipe.training
        trained, best = self.epochs
        waited = (trained - best) // config.evaluate_every
        return config.max_minutes is not None and trained < config.epochs and waited < config.patience


def measure(
    data: dict[str, Any], root: Path, engine: Engine, out: Path, progress: Progress
) -> tuple[Size, list[Setting]]:
    """Read the data as the recipe will, and return their size and the filters that they need."""
    _, raw = read_recipe("shop", root)
    raw = {**raw, "data": {**data, **{setting.key.partition(".")[2]: setting.value for setting in FILTERS}}}
    pipeline = make_pipeline(make_context(parse_recipe("shop", raw), root, engine, progress), out)
    interactions = load_saved(pipeline.ensure_path("data")).interactions
    frame = interactions.frame
    lengths = frame["user_id"].value_counts()["count"]
    _refuse_short_histories(lengths)
    typical = int(lengths.quantile(0.9, "higher") or 1)
    size = Size(frame.height, len(lengths), frame["item_id"].n_unique(), typical)
    return size, [*FILTERS, *_repeats(share_of_repeated_last_events(interactions))]


def _refuse_short_histories(lengths: pl.Series) -> None:
    """Raise DataError if no user has enough events to learn from, to select by and to test with."""
    if not len(lengths) or int(lengths.max()) < _LEAST_EVENTS:  # type: ignore[arg-type]
        raise DataError(
            f"no user has {_LEAST_EVENTS} events ({len(lengths):,} users have {int(lengths.sum()):,}): one to learn "
            "from, one to select the student and one to test it. Give a longer log, or check which column is the user."
        )


def _repeats(share: float) -> list[Setting]:
    """Where users choose again what they had, either repeats are recommended, or they are left out."""
    if share < REPEATED_SHARE:
        return []
    last = f"{share:.0%} of the users' last events are items that they already had"
    if share < _REPEAT_HEAVY:
        return [Setting("data.repeats", "first", f"{last}: each item counts once for a user")]
    return [Setting("evaluation.hide_seen", False, f"{last}: items are recommended again")]


def train_arms(recipe: Recipe, root: Path, engine: Engine, out: Path, progress: Progress) -> list[Arm]:
    """Train the plain student, and the one with the recipe's objectives if it has any."""
    recipes = {"plain": recipe.plain()} if not recipe.is_plain else {"plain": recipe}
    if not recipe.is_plain:
        recipes["with texts"] = recipe
    arms = []
    for name, arm in recipes.items():
        progress.say(f"── student: {name}")
        pipeline = make_pipeline(make_context(arm, root, engine, progress), out)
        arms.append(Arm(name, pipeline, run_pipeline(pipeline)))
    return arms


def notes(arms: list[Arm]) -> list[str]:
    """Return what limits the comparison: the time budget, students below popularity, and few test cases."""
    found = []
    if cut := [arm for arm in arms if arm.was_cut]:
        names = " and ".join(f"{arm.name!r} after {arm.reached}" for arm in cut)
        more = "the comparison favours the one that came further; " if 0 < len(cut) < len(arms) else ""
        found.append(
            f"The time budget ended the training of {names}: {more}raise training.max_minutes in the recipe and run "
            "the same command for better students."
        )
    popular = arms[0].outcome.baselines["popularity"]["ndcg@10"]
    if popular >= max(arm.outcome.test["ndcg@10"] for arm in arms):
        found.append(
            "No student is better than popularity in this test: the log may be too short, or the training too. Popular "
            "items are a fair answer until then."
        )
    cases = pl.read_parquet(arms[0].outcome.per_user).height
    if cases < _FEW_CASES:
        found.append(f"There are only {cases:,} test cases: the numbers can be far from those of more users.")
    return found


def best_arm(arms: list[Arm]) -> Arm:
    """Return the arm with the highest validation NDCG@10: the test is only for the report."""
    return max(arms, key=lambda arm: arm.outcome.validation["ndcg@10"])
