"""Raw data → checked tables → splits."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retort.offline.data.load import load_data, save_loaded
from retort.offline.data.sources import existing_directory
from retort.offline.data.split import make_split
from retort.offline.data.split_store import save_split
from retort.offline.pipeline.artifact_store import hash_directory
from retort.offline.pipeline.context import RunContext, load_tables
from retort.offline.pipeline.dag import Pipeline
from retort.shared.base.hashing import hash_file


def files_hash(data_dir: Path | None) -> str | None:
    """The state of the raw data; None where a source needs none. DataError where it lies in no directory."""
    return None if data_dir is None else hash_directory(existing_directory(data_dir))


def files_outside(options: Mapping[str, Any], data_dir: Path | None) -> dict[str, str]:
    """State of the files that a source's options name by a path that leads out of the data directory."""
    if data_dir is None:
        return {}
    inside = os.path.normpath(data_dir)
    named = {key: os.path.normpath(data_dir / said) for key, said in options.items() if isinstance(said, str)}
    return {
        key: hash_file(Path(path))
        for key, path in named.items()
        if not Path(path).is_relative_to(inside) and Path(path).is_file()
    }


def data_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    context = pipeline.context
    save_loaded(load_data(context.recipe.data, context.data_dir, context.progress), work)


def split_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    save_split(make_split(load_tables(pipeline).interactions, pipeline.context.recipe.split, "held"), work)


def split_refit_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    save_split(make_split(load_tables(pipeline).interactions, pipeline.context.recipe.split, "refit"), work)
