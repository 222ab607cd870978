"""Comparison of CTR models from a file: the pipeline's data, profile and vector steps, then every model and arm.

The file is a recipe with a section [ctr].
"""

import json
from dataclasses import asdict
from functools import partial
from importlib.resources import files
from pathlib import Path

from sqlalchemy import Engine

from retort.offline.common.plugins import plugin_module
from retort.offline.common.progress import Progress
from retort.offline.common.section import parse_section
from retort.offline.ctr.config import CtrConfig
from retort.offline.ctr.data import CtrData, make_data
from retort.offline.ctr.train import MODELS, Outcome, train
from retort.offline.data.split_store import load_split
from retort.offline.embeddings.tfidf import TFIDF
from retort.offline.embeddings.vectors import read_vectors
from retort.offline.pipeline.artifact_store import ArtifactStore
from retort.offline.pipeline.context import KNOWLEDGE_STEP, VECTORS_FILE, RunContext, load_tables, make_plan
from retort.offline.pipeline.dag import Pipeline, Step
from retort.offline.pipeline.prepare import prepare_steps
from retort.offline.pipeline.teach import encoded_items, teach_steps
from retort.offline.recipes.recipe import Recipe, parse_recipe
from retort.offline.recipes.recipe_files import read_recipe, with_keys
from retort.shared.base.errors import RecipeError
from retort.shared.base.settings import LanguageModelSettings
from retort.shared.knowledge.item_knowledge import corrections_hash
from retort.shared.profiles.profile_choices import choices_hash

OUTCOMES_FILE = "outcomes.json"
_READ_STEPS = ("data", "split", KNOWLEDGE_STEP, "profiles", "vectors", "teacher")


def read_ctr_file(reference: str, overrides: dict[str, object]) -> tuple[Recipe, CtrConfig]:
    """Read a comparison of CTR models.

    Args:
        reference: Name of a shipped comparison, or a .toml file.
        overrides: section.key → value.

    Raises:
        RecipeError: The recipe reads no user profiles, has another split, or encodes by word counts.
    """
    shipped = Path(str(files("retort.recipes"))) / "ctr" / f"{reference}.toml"
    name, raw = read_recipe(str(shipped) if shipped.is_file() else reference, Path.cwd())
    raw = with_keys(raw, overrides)
    config = parse_section(CtrConfig, raw.pop("ctr", {}), "ctr")
    recipe = parse_recipe(name, raw)
    if "users" not in recipe.teacher_parts():
        raise RecipeError(
            f"{name} has no objective that reads user profiles, so no profiles would be written; add one."
        )
    if recipe.split.method != "leave_one_out":
        raise RecipeError('`retort ctr` splits each user\'s events; set [split] method = "leave_one_out".')
    if not recipe.encoder.items_comparable:
        raise RecipeError(
            f"[encoder] model = {TFIDF!r} or [[encoder.views]] gives users and items different vector spaces; choose a "
            "text encoder."
        )
    return recipe, config


def compare_models(
    recipe: Recipe, config: CtrConfig, data: Path | None, engine: Engine, progress: Progress, out: Path
) -> list[Outcome]:
    """Train and score every model, arm and seed; finished steps in `out` are reused."""
    context = RunContext(recipe, data, engine, LanguageModelSettings(), progress)
    corrections = corrections_hash(engine) if recipe.knowledge.is_on else None
    plan = make_plan(recipe, data, context.language_model, choices_hash(engine), corrections)
    last: Step[RunContext] = Step(
        "ctr",
        partial(_train_models, config=config),
        ("data", "split", "vectors", "teacher", "items"),
        config.model_dump(mode="json"),
        tuple(plugin_module(MODELS, name) for name in config.models),
    )
    read = [step for step in (*prepare_steps(plan), *teach_steps(plan)) if step.name in _READ_STEPS]
    pipeline = Pipeline([*read, encoded_items(plan), last], context, ArtifactStore(out), progress)
    rows = json.loads((pipeline.ensure_path("ctr") / OUTCOMES_FILE).read_text(encoding="utf-8"))
    return [Outcome(**row) for row in rows]


def _train_models(pipeline: Pipeline[RunContext], work: Path, config: CtrConfig) -> None:
    data = _load_data(pipeline, config)
    progress = pipeline.context.progress
    progress.say(f"{len(data.train)} train, {len(data.validation)} validation and {len(data.test)} test rows")
    outcomes = []
    for name in config.models:
        for arm in config.arms:
            for seed in config.seeds:
                outcomes.append(train(name, arm, seed, data, config))
                progress.say(f"{name} {arm} seed {seed}: AUC {outcomes[-1].auc:.4f}")
    text = json.dumps([asdict(outcome) for outcome in outcomes], indent=2)
    (work / OUTCOMES_FILE).write_text(text + "\n", encoding="utf-8")


def _load_data(pipeline: Pipeline[RunContext], config: CtrConfig) -> CtrData:
    tables = load_tables(pipeline)
    return make_data(
        load_split(pipeline.ensure_path("split")),
        tables.interactions,
        tables.items,
        read_vectors(pipeline.ensure_path("vectors") / VECTORS_FILE),
        read_vectors(pipeline.ensure_path("items") / VECTORS_FILE, "item_id"),
        read_vectors(pipeline.ensure_path("teacher") / VECTORS_FILE),
        config.positive_from,
    )
