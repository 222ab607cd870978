"""Training of the library: the steps, caches and bundles of the command line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retort.offline.common.database import migrate_and_open
from retort.offline.common.progress import Progress, Silent
from retort.offline.common.terminal import TerminalProgress
from retort.offline.library.data import Data
from retort.offline.library.evaluation import Evaluation
from retort.offline.library.model import Model, newest_histories
from retort.offline.quickstart.recipe_file import TEXT_START, data_section
from retort.offline.quickstart.settings_by_size import check_minutes, choose_settings
from retort.offline.quickstart.train import Arm, best_arm, measure, train_arms
from retort.offline.recipes.recipe import Recipe, parse_recipe
from retort.offline.recipes.recipe_files import read_recipe, with_keys
from retort.shared.base.settings import Settings
from retort.shared.model.bundle import open_bundle

_SHOP = "shop"


def fit(
    data: Data,
    recipe: str = _SHOP,
    *,
    minutes: float = 5.0,
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    quiet: bool = False,
) -> Model:
    """Train a plain student and, where items have texts, one that starts from them; return the better one.

    The better one is chosen on validation. A second call with the same arguments uses the finished steps.

    Args:
        data: What `read` returned.
        recipe: "shop", whose settings are chosen by the size of the data, or another recipe's name or file.
        minutes: Time budget of "shop".
        settings: Recipe keys to set, such as {"student.dropout": 0.2}.
        out: Run directory; unset: `runs` under RETORT_HOME.
        quiet: Print no progress.

    Raises:
        RetortError: The data, the recipe or the training has a fault; the message says what to change.
    """
    check_minutes(minutes)
    directory = Path(out) if out is not None else Settings().retort_home / "runs"
    if quiet:
        return _fit(data, recipe, minutes, settings or {}, directory, Silent())
    with TerminalProgress() as progress:
        return _fit(data, recipe, minutes, settings or {}, directory, progress)


def _fit(
    data: Data, reference: str, minutes: float, settings: Mapping[str, Any], out: Path, progress: Progress
) -> Model:
    engine = migrate_and_open(Settings())
    try:
        name, raw = read_recipe(reference, Path.cwd())
        raw = {**raw, "data": {**_kept(raw), **data_section(data.recognised)}}
        if reference == _SHOP:
            size, filters = measure(raw["data"], data.directory, engine, out, progress)
            texts = data.recognised.items is not None
            chosen = [*filters, *choose_settings(size, minutes, texts=texts)]
            raw = {**raw, "objectives": [{"name": TEXT_START}]} if texts else raw
            raw = with_keys(raw, {setting.key: setting.value for setting in chosen})
        loaded = parse_recipe(name, with_keys(raw, settings))
        arms = train_arms(loaded, data.directory, engine, out, progress)
        return _model(arms, loaded, data, out)
    finally:
        engine.dispose()


def _kept(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe's own `[data]` without its source, which the recognised files replace."""
    return {key: value for key, value in raw.get("data", {}).items() if key not in ("source", "options")}


def _model(arms: list[Arm], recipe: Recipe, data: Data, out: Path) -> Model:
    best = best_arm(arms)
    evaluation = Evaluation(
        metrics={"popularity": arms[0].outcome.baselines["popularity"], **{arm.name: arm.outcome.test for arm in arms}},
        ranks={arm.name: str(arm.outcome.per_user) for arm in arms},
        chosen=best.name,
    )
    return Model(open_bundle(best.outcome.bundle), newest_histories(recipe, data.directory, out), evaluation)
