"""Training of the quickstart: the recipe's settings by the data's size, then a plain and a text-started student."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from retort.offline.common.progress import Progress
from retort.offline.data.filters import share_of_repeated_last_events
from retort.offline.data.load import REPEATED_SHARE
from retort.offline.data.tables import load_saved
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import RunContext, make_context
from retort.offline.pipeline.dag import Pipeline
from retort.offline.pipeline.outcome import Outcome, run_pipeline
from retort.offline.quickstart.settings_by_size import Setting, Size
from retort.offline.recipes.recipe import Recipe, parse_recipe, read_recipe

_MAX_DAY_EVENTS = 2_000
_MAX_USER_EVENTS = 1_000
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


def measure(
    data: dict[str, Any], root: Path, engine: Engine, out: Path, progress: Progress
) -> tuple[Size, list[Setting]]:
    """Read the data as the recipe will, and return their size and the filters that they need."""
    _, raw = read_recipe("shop", root)
    raw = {**raw, "data": {**data, **{setting.key.partition(".")[2]: setting.value for setting in FILTERS}}}
    pipeline = make_pipeline(make_context(parse_recipe("shop", raw), root, engine, progress), out)
    frame = load_saved(pipeline.ensure_path("data")).interactions.frame
    lengths = frame["user_id"].value_counts()["count"]
    typical = int(lengths.quantile(0.9, "higher") or 1)
    size = Size(frame.height, len(lengths), frame["item_id"].n_unique(), typical)
    return size, [*FILTERS, *_repeats(share_of_repeated_last_events(frame))]


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


def best_arm(arms: list[Arm]) -> Arm:
    """Return the arm with the highest validation NDCG@10: the test is only for the report."""
    return max(arms, key=lambda arm: arm.outcome.validation["ndcg@10"])
