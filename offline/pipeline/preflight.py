"""Preflight: what a run needs from elsewhere is looked for before anything is trained or any profile is written."""

import os
import shutil
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from retort.offline.embeddings.served_model import check_encoder
from retort.offline.embeddings.text_model import is_cached
from retort.offline.knowledge.config import KnowledgeConfig
from retort.offline.knowledge.prompt import ItemPromptWriter
from retort.offline.pipeline.artifact_store import ArtifactStoreError
from retort.offline.pipeline.context import (
    KNOWLEDGE_STEP,
    RunContext,
    in_data_directory,
    knowledge_in_data_directory,
    profiles_in_data_directory,
)
from retort.offline.pipeline.dag import Pipeline, Step
from retort.offline.profiles.config import IMPORTED
from retort.offline.teachers.config import TeacherConfig, TunedModelConfig
from retort.shared.base.errors import KnowledgeError, ProfileError, TeacherError

_LISTS = ("lists", "lists_refit")
_LEAST_DISK_BYTES = 256 << 20


def check_needs(pipelines: Iterable[Pipeline[RunContext]]) -> None:
    """Check the disk, and the encoder, the tuned language models and the given files of steps that are not finished.

    Raises:
        ArtifactStoreError: The run directory cannot be written, or its disk is nearly full.
        KnowledgeError: The file of item knowledge is not to be had.
        RecipeError: There is no such domain of item knowledge.
        ProfileError: The encoder or the file of ready profiles is not to be had.
        TeacherError: A language model or a given file is not to be had.
    """
    for pipeline in pipelines:
        recipe, data_dir = pipeline.context.recipe, pipeline.context.data_dir
        check_disk(pipeline.store.root)
        due = {name: step for name, step in pipeline.steps.items() if not _was_run(pipeline, step)}
        encoding = [name for name, step in due.items() if "encoder" in step.config]
        # items may have views with models of their own
        models = [recipe.encoder.models if name == "vectors" else recipe.encoder.item_models for name in encoding]
        check_encoder(recipe.encoder, chain.from_iterable(models))
        if any(name in due for name in _LISTS):
            _check_language_models(recipe.teacher)
        if KNOWLEDGE_STEP in due:
            check_knowledge(knowledge_in_data_directory(recipe.knowledge, data_dir))
        if "profiles" in due and recipe.profiles.backend == IMPORTED:
            _check_file(profiles_in_data_directory(recipe.profiles, data_dir).options.get("path"))
        if due and recipe.teacher_parts():
            _check_given(in_data_directory(recipe.teacher, data_dir))


def check_disk(root: Path) -> None:
    """Check that the run directory can be written, and that its disk is not nearly full."""
    root = root.absolute()
    existing = next(path for path in (root, *root.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        raise ArtifactStoreError(f"{existing} cannot be written; choose another --out or change its permissions.")
    free = shutil.disk_usage(existing).free
    if free < _LEAST_DISK_BYTES:
        raise ArtifactStoreError(
            f"only {free >> 20} MiB are free for {root}, and a run requires {_LEAST_DISK_BYTES >> 20}; free some space "
            "or choose another --out."
        )


def check_knowledge(config: KnowledgeConfig) -> None:
    """Check the file of ready item knowledge, or that the prompts of the recipe exist."""
    if config.generates:
        ItemPromptWriter.of(config)
    elif config.path is None or not config.path.is_file():
        raise KnowledgeError(f"there is no file {config.path} of item knowledge; correct [knowledge] path.")


def _was_run(pipeline: Pipeline[RunContext], step: Step[RunContext]) -> bool:
    """Whether the step ran before, on whatever inputs: what it needed was there."""
    return bool(pipeline.store.find_earlier(step.name, {"config": dict(step.config), "code": pipeline.code(step)}))


def _check_language_models(teacher: TeacherConfig) -> None:
    for section in teacher.list_teachers:
        config = getattr(teacher, section, None)
        if not isinstance(config, TunedModelConfig) or Path(config.model).expanduser().is_dir():
            continue
        try:
            is_cached([config.model], config.revision)
        except OSError as error:
            raise TeacherError(
                f"the language model {config.model!r} of [teacher.{section}] is not to be had ({error}); name a causal "
                "model of the hub, or a folder that holds one."
            ) from None


def _check_file(path: object) -> None:
    if path is not None and not Path(str(path)).is_file():
        raise ProfileError(f"there is no file {path} of ready profiles; correct [profiles.options] path.")


def _check_given(teacher: TeacherConfig) -> None:
    given = {
        "users_path": teacher.users == "file",
        "items_path": teacher.items in ("file", "published"),
        "lists_path": teacher.lists in ("file", "published"),
    }
    for key, is_read in given.items():
        path: Path | None = getattr(teacher, key)
        if is_read and path is not None and not path.exists():
            raise TeacherError(f"there is nothing at {path}; correct [teacher] {key}.")
