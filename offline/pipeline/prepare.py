"""Raw data → cleaned tables → splits."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retort.offline.common.plugins import load_plugin, plugin_module
from retort.offline.common.section import parse_section
from retort.offline.data.load import SOURCES, DataConfig, load_data
from retort.offline.data.sources import existing_directory
from retort.offline.data.split import make_split
from retort.offline.data.split_store import save_split
from retort.offline.data.tables import save_loaded
from retort.offline.data.text import reads_knowledge
from retort.offline.knowledge.config import backend_name
from retort.offline.knowledge.describe import describe_items
from retort.offline.knowledge.items import with_knowledge
from retort.offline.knowledge.missing import find_missing
from retort.offline.knowledge.report import read_report
from retort.offline.knowledge.store import KnowledgeStore
from retort.offline.pipeline.context import (
    ITEMS_FILE,
    KNOWLEDGE_FILE,
    KNOWLEDGE_STEP,
    Plan,
    RunContext,
    knowledge_in_data_directory,
    load_tables,
)
from retort.offline.pipeline.dag import Pipeline, Step
from retort.offline.pipeline.file_hashes import hash_directory, hash_file_once
from retort.offline.profiles.config import BACKENDS
from retort.shared.base.errors import RecipeError
from retort.shared.base.hashing import hash_json


def prepare_steps(plan: Plan) -> list[Step[RunContext]]:
    """data, knowledge where the recipe has [knowledge], split, and split_refit for protocol "refit"."""
    data = plan.recipe.data
    read = {"data": plan.config["data"], "files": files_hash(plan.data_dir, data)}
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
    key: dict[str, Any] = {"knowledge": plan.config["knowledge"], **_hash_knowledge_author(plan)}
    key |= {"corrections": plan.corrections} if plan.corrections else {}
    if reads_knowledge(data.text_columns, data.text_template):
        key |= {name: plan.config["data"][name] for name in ("text_columns", "text_template")}
    if not plan.recipe.knowledge.generates:
        return [Step(KNOWLEDGE_STEP, knowledge_step, ("data",), key)]
    plugins = (plugin_module(BACKENDS, backend_name(plan.recipe.knowledge, plan.language_model)),)
    return [
        Step(KNOWLEDGE_STEP, knowledge_step, ("data",), key, plugins, queue="gpu-llm", resumes=True, lacks=lacks_texts)
    ]


def _hash_knowledge_author(plan: Plan) -> dict[str, Any]:
    """What writes the texts in this process: the backend that "auto" selects, or the hash of the file."""
    config = plan.recipe.knowledge
    if not config.generates:
        path = knowledge_in_data_directory(config, plan.data_dir).path
        return {"file": hash_file_once(path) if path is not None and path.is_file() else None}
    backend = backend_name(config, plan.language_model)
    if backend == "openai" and not config.options.get("model") and plan.language_model.openai_base_url:
        # the server's only model is used, and another server has another model
        return {"backend": backend, "server": hash_json([plan.language_model.openai_base_url])}
    return {"backend": backend}


def files_hash(data_dir: Path | None, data: DataConfig) -> str | None:
    """Hash of the files that the source names, or of the whole directory; None without a directory.

    Raises:
        DataError: The directory does not exist.
    """
    if data_dir is None:
        return None
    directory = existing_directory(data_dir)
    source = load_plugin(SOURCES, data.source)
    if not hasattr(source, "files"):
        return hash_directory(directory)
    named = source.files(parse_section(source.Config, data.options, "data.options"), directory)
    return hash_json({key: hash_file_once(path) if path.is_file() else None for key, path in named.items()})


def _hash_files_outside(options: Mapping[str, Any], data_dir: Path | None) -> dict[str, str]:
    """Hashes of the files outside the data directory that the options of a source name."""
    if data_dir is None:
        return {}
    inside = os.path.normpath(data_dir)
    named = {key: os.path.normpath(data_dir / value) for key, value in options.items() if isinstance(value, str)}
    return {
        key: hash_file_once(Path(path))
        for key, path in named.items()
        if not Path(path).is_relative_to(inside) and Path(path).is_file()
    }


def data_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Write the cleaned tables of the recipe's source."""
    context, data = pipeline.context, pipeline.context.recipe.data
    loaded = load_data(data, context.data_dir, context.progress, work)
    named = reads_knowledge(data.text_columns, data.text_template)
    if named and not context.recipe.knowledge.is_on and not loaded.items.knowledge.count():
        raise RecipeError(
            "[data] text_template or text_columns names knowledge, which the items do not have; add [knowledge] to the "
            "recipe, or remove the name."
        )
    save_loaded(loaded, work)


def knowledge_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Write the items with their knowledge, the texts with their sources and dates, and the report."""
    context, data = pipeline.context, pipeline.context.recipe.data
    items = load_tables(pipeline).items
    config = knowledge_in_data_directory(context.recipe.knowledge, context.data_dir)
    store = KnowledgeStore(context.engine)
    known, report = describe_items(items, config, store, context.language_model, context.progress)
    items = with_knowledge(items, known, data.text_columns, data.text_template, config.facets)
    items.frame.write_parquet(work / ITEMS_FILE)
    known.write_parquet(work / KNOWLEDGE_FILE)
    report.write(work)


def lacks_texts(pipeline: Pipeline[RunContext], path: Path) -> bool:
    """Whether items failed that are to be asked about again, or that have got a text elsewhere, as by a refresh."""
    context = pipeline.context
    config, n_failed = context.recipe.knowledge, read_report(path).failed
    if not n_failed or config.retry_failed:
        return n_failed > 0
    store = KnowledgeStore(context.engine)
    return len(find_missing(load_tables(pipeline).items, config, store, context.language_model)) < n_failed


def split_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Write the held split: train, validation and test."""
    save_split(make_split(load_tables(pipeline).interactions, pipeline.context.recipe.split, "held", work), work)


def split_refit_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Write the split of the refit, whose train part holds the validation events too."""
    save_split(make_split(load_tables(pipeline).interactions, pipeline.context.recipe.split, "refit", work), work)
