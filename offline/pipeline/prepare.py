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
from retort.offline.pipeline.artifact_store import hash_directory
from retort.offline.pipeline.context import Plan, RunContext, load_tables
from retort.offline.pipeline.dag import Pipeline, Step
from retort.shared.base.hashing import hash_file


def prepare_steps(plan: Plan) -> list[Step[RunContext]]:
    """data, split, and split_refit for protocol "refit"."""
    data = plan.recipe.data
    read = {"data": plan.config["data"], "files": files_hash(plan.data_dir)}
    outside = _hash_files_outside(data.options, plan.data_dir)
    read |= {"files_outside": outside} if outside else {}
    split = {"split": plan.config["split"]}
    steps = [
        Step("data", data_step, config=read, plugins=(plugin_module(SOURCES, data.source),)),
        Step("split", split_step, ("data",), split),
    ]
    if plan.recipe.protocol == "refit":
        steps.append(Step("split_refit", split_refit_step, ("data",), split))
    return steps


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
    context = pipeline.context
    save_loaded(load_data(context.recipe.data, context.data_dir, context.progress), work)


def split_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Write the held split: train, validation and test."""
    save_split(make_split(load_tables(pipeline).interactions, pipeline.context.recipe.split, "held"), work)


def split_refit_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Write the split of the refit, whose train part holds the validation events too."""
    save_split(make_split(load_tables(pipeline).interactions, pipeline.context.recipe.split, "refit"), work)
