"""Puts the pipeline of a recipe together from the steps of its stages."""

from collections.abc import Iterable
from pathlib import Path

from retort.offline.common.database import migrate_and_open
from retort.offline.common.progress import Progress
from retort.offline.pipeline.artifact_store import ArtifactStore
from retort.offline.pipeline.context import RunContext, make_context, make_plan
from retort.offline.pipeline.dag import Pipeline, Step
from retort.offline.pipeline.deliver import deliver_steps
from retort.offline.pipeline.lists import list_steps
from retort.offline.pipeline.prepare import prepare_steps
from retort.offline.pipeline.teach import teach_steps
from retort.offline.pipeline.train import train_steps
from retort.offline.recipes.recipe import Recipe, load_recipe
from retort.shared.base.settings import LanguageModelSettings, Settings
from retort.shared.knowledge.item_knowledge import corrections_hash
from retort.shared.profiles.profile_choices import choices_hash


def load_pipeline(
    reference: str, data: Path | None, out: Path, overrides: Iterable[str], progress: Progress
) -> Pipeline[RunContext]:
    """The pipeline of a recipe over the run directory `out`, with the database of the settings."""
    recipe = load_recipe(reference, overrides)
    return make_pipeline(make_context(recipe, data, migrate_and_open(Settings()), progress), out)


def make_pipeline(context: RunContext, out_dir: Path) -> Pipeline[RunContext]:
    """The steps that the recipe requires, over the run directory `out_dir`; with `bundles_dir` it publishes."""
    recipe = context.recipe
    steps = make_steps(
        recipe,
        context.data_dir,
        context.language_model,
        publish=context.bundles_dir is not None,
        # what users decided about their profiles is part of the profiles
        choices=choices_hash(context.engine) if recipe.reads_profiles else None,
        corrections=corrections_hash(context.engine) if recipe.knowledge.is_on else None,
    )
    return Pipeline(steps, context, ArtifactStore(out_dir), context.progress)


def make_steps(
    recipe: Recipe,
    data_dir: Path | None,
    language_model: LanguageModelSettings,
    *,
    publish: bool = False,
    choices: str | None = None,
    corrections: str | None = None,
) -> list[Step[RunContext]]:
    """The recipe's steps in order.

    Args:
        language_model: Selects the backend of profiles where the recipe says "auto".
        choices: Hash of what users decided about their profiles.
        corrections: Hash of people's corrections of item knowledge.
    """
    plan = make_plan(recipe, data_dir, language_model, choices, corrections)
    return [
        *prepare_steps(plan),
        *teach_steps(plan),
        *list_steps(plan),
        *train_steps(plan),
        *deliver_steps(plan, publish=publish),
    ]
