"""Raw data → cleaned tables → splits."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retort.offline.common.plugins import plugin_module
from retort.offline.data.load import SOURCES, load_data
from retort.offline.data.sources import existing_directory
from retort.offline.data.split import make_split
from retort.offline.data.split_store import save_split
from retort.offline.data.tables import save_loaded
from retort.offline.data.text import reads_knowledge
from retort.offline.knowledge.imported import read_knowledge
from retort.offline.knowledge.items import with_knowledge
from retort.offline.pipeline.artifact_store import hash_directory
from retort.offline.pipeline.context import (
    ITEMS_FILE,
    KNOWLEDGE_STEP,
    Plan,
    RunContext,
    knowledge_in_data_directory,
    load_tables,
)
from retort.offline.pipeline.dag import Pipeline, Step
from retort.shared.base.errors import RecipeError
from retort.shared.base.hashing import hash_file


def prepare_steps(plan: Plan) -> list[Step[RunContext]]:
    """data, knowledge where the recipe has [knowledge], split, and split_refit for protocol "refit"."""
    data = plan.recipe.data
    read = {"data": plan.config["data"], "files": files_hash(plan.data_dir)}
    outside = _hash_files_outside(data.options, plan.data_dir)
    read |= {"files_outside": outside} if outside else {}
    if reads_knowledge(data.text_columns, data.text_template) and not plan.recipe.knowledge.is_on:
        read |= {"knowledge": "of the items"}  # the step checks that they have any
    split = {"split": plan.config["split"]}
    steps = [
        Step("data", data_step, config=read, plugins=(plugin_module(SOURCES, data.source),)),
        *_knowledge_steps(plan),
        Step("split", split_step, ("data",), split),
    ]
    if plan.recipe.protocol == "refit":
        steps.append(Step("split_refit", split_refit_step, ("data",), split))
    return steps


def _knowledge_steps(plan: Plan) -> list[Step[RunContext]]:
    if not plan.recipe.knowledge.is_on:
        return []
    data = plan.recipe.data
    key: dict[str, Any] = {"knowledge": plan.config["knowledge"]}
    path = knowledge_in_data_directory(plan.recipe.knowledge, plan.data_dir).path
    key["file"] = hash_file(path) if path is not None and path.is_file() else None
    if reads_knowledge(data.text_columns, data.text_template):
        key |= {name: plan.config["data"][name] for name in ("text_columns", "text_template")}
    return [Step(KNOWLEDGE_STEP, knowledge_step, ("data",), key)]


def files_hash(data_dir: Path | None) -> str | None:
    """Hash of the raw data; None for a source that needs none. DataError if the directory does not exist."""
    return None if data_dir is None else hash_directory(existing_directory(data_dir))


def _hash_files_outside(options: Mapping[str, Any], data_dir: Path | None) -> dict[str, str]:
    """Hashes of the files outside the data directory that the options of a source name."""
    if data_dir is None:
        return {}
    inside = os.path.normpath(data_dir)
    named = {key: os.path.normpath(data_dir / value) for key, value in options.items() if isinstance(value, str)}
    return {
        key: hash_file(Path(path))
        for key, path in named.items()
        if not Path(path).is_relative_to(inside) and Path(path).is_file()
    }


def data_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Write the cleaned tables of the recipe's source."""
    context, data = pipeline.context, pipeline.context.recipe.data
    loaded = load_data(data, context.data_dir, context.progress)
    named = reads_knowledge(data.text_columns, data.text_template)
    if named and not context.recipe.knowledge.is_on and not loaded.items.knowledge.count():
        raise RecipeError(
            "[data] text_template or text_columns names knowledge, which the items do not have; add [knowledge] to the "
            "recipe, or remove the name."
        )
    save_loaded(loaded, work)


def knowledge_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Write the items with their knowledge, and how many have any."""
    context, items = pipeline.context, load_tables(pipeline).items
    config = knowledge_in_data_directory(context.recipe.knowledge, context.data_dir)
    known, report = read_knowledge(config, items, context.progress)
    context.progress.say(report.line())
    data = context.recipe.data
    items = with_knowledge(items, known, data.text_columns, data.text_template)
    items.frame.write_parquet(work / ITEMS_FILE)
    report.write(work)


def split_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Write the held split: train, validation and test."""
    save_split(make_split(load_tables(pipeline).interactions, pipeline.context.recipe.split, "held"), work)


def split_refit_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Write the split of the refit, whose train part holds the validation events too."""
    save_split(make_split(load_tables(pipeline).interactions, pipeline.context.recipe.split, "refit"), work)
