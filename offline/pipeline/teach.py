"""Train histories → profiles → vectors → what the teacher knows of users and items."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from retort.offline.common.plugins import plugin_module
from retort.offline.data.split_store import load_split
from retort.offline.embeddings.encoder import encode_profiles
from retort.offline.embeddings.encoder_config import PACKAGED
from retort.offline.embeddings.given_vectors import read_given_vectors
from retort.offline.embeddings.item_vectors import encode_items
from retort.offline.embeddings.reducer import fit_reducer
from retort.offline.embeddings.tfidf import TFIDF
from retort.offline.embeddings.vectors import read_vectors, write_vectors
from retort.offline.pipeline.context import (
    PROFILES_FILE,
    VECTORS_FILE,
    Plan,
    RunContext,
    in_data_directory,
    items_from,
    load_items,
    load_tables,
    profiles_in_data_directory,
)
from retort.offline.pipeline.dag import Pipeline, Step
from retort.offline.pipeline.file_hashes import hash_directory, hash_file_once
from retort.offline.pipeline.sharded import encode_shards, reduce_users
from retort.offline.profiles.config import BACKENDS, IMPORTED, backend_name
from retort.offline.profiles.generator import profiles_tables, write_profiles, write_profiles_table
from retort.offline.profiles.history import user_histories
from retort.offline.profiles.quality import measure_profiles
from retort.offline.profiles.store import ProfileStore
from retort.offline.teachers.published import read_published_items
from retort.shared.base.errors import TeacherError
from retort.shared.base.hashing import hash_json

_CACHE = "cache.sqlite"


def teach_steps(plan: Plan) -> list[Step[RunContext]]:
    """profiles, vectors and teacher for what is known of users; items and tuned_items for what is known of items.

    Ready vectors of users replace profiles and their encoding.
    """
    return [*(_user_steps(plan) if "users" in plan.teacher_parts else []), *_item_steps(plan)]


def _user_steps(plan: Plan) -> list[Step[RunContext]]:
    reducer = {"reducer": plan.config["reducer"], "shards": plan.config["encoder"]["shards"]}
    teacher = Step("teacher", teacher_step, ("vectors",), reducer)
    if plan.recipe.teacher.users == "file":
        files = hash_given(in_data_directory(plan.recipe.teacher, plan.data_dir).users_path)
        return [Step("vectors", given_users_step, ("data",), {"users_files": files}), teacher]
    backend = backend_name(plan.recipe.profiles, plan.language_model)
    profiles = {"profiles": plan.config["profiles"], **_hash_author(plan, backend)}
    profiles |= {"choices": plan.choices} if plan.choices else {}
    plugins = () if backend == IMPORTED else (plugin_module(BACKENDS, backend),)
    return [
        Step("profiles", profiles_step, (*items_from(plan), "split"), profiles, plugins, queue="gpu-llm", resumes=True),
        Step("vectors", vectors_step, ("profiles",), encoder_key(plan), queue="gpu-train", resumes=True),
        teacher,
    ]


def _hash_author(plan: Plan, backend: str) -> dict[str, Any]:
    """What writes the profiles in this process: the backend that "auto" selects, or the hash of ready profiles."""
    config = plan.recipe.profiles
    if backend == "openai" and not config.options.get("model") and plan.language_model.openai_base_url:
        # the server's only model is used, and another server has another model
        return {"backend": backend, "server": hash_json([plan.language_model.openai_base_url])}
    if backend != IMPORTED:
        return {"backend": backend}
    path = Path(str(profiles_in_data_directory(config, plan.data_dir).options.get("path", "")))
    return {"backend": backend, "file": hash_file_once(path) if path.is_file() else None}


def _item_steps(plan: Plan) -> list[Step[RunContext]]:
    """Item vectors: encoded, given, or of an encoder tuned on train rows. A teacher's lists never read the tuned ones,
    which know what its own rows lead to."""
    teacher = plan.recipe.teacher
    if "items" not in plan.teacher_parts:
        return []
    if teacher.items in ("file", "published"):
        files = hash_given(in_data_directory(teacher, plan.data_dir).items_path)
        return [Step("items", given_items_step, ("data",), {"items": teacher.items, "items_files": files})]
    encoder = encoder_key(plan)
    steps: list[Step[RunContext]] = []
    read_by_lists = "lists" in plan.teacher_parts and teacher.lists_read_vectors
    if teacher.items in ("encoded", "co_occurrence") or read_by_lists:
        steps.append(encoded_items(plan))
    if teacher.items == "co_occurrence":
        mapping = {"co_occurrence": plan.config["teacher"]["co_occurrence"]}
        steps.append(Step("mapped_items", mapped_items_step, ("items", "split"), mapping))
    if teacher.items == "tuned":
        tuned = encoder | {"tuned_encoder": plan.config["teacher"]["tuned_encoder"]}
        steps.append(Step("tuned_items", tuned_items_step, (*items_from(plan), "split"), tuned, queue="gpu-train"))
    return steps


def encoded_items(plan: Plan) -> Step[RunContext]:
    """The step that encodes the items' texts."""
    return Step("items", items_step, items_from(plan), item_encoder_key(plan), queue="gpu-train", resumes=True)


def taught_by(plan: Plan) -> tuple[str, ...]:
    """Names of the steps that leave what the teacher knows."""
    teacher = plan.recipe.teacher
    items = {"tuned": "tuned_items", "co_occurrence": "mapped_items"}.get(teacher.items, "items")
    steps = tuple(step for step, part in (("teacher", "users"), (items, "items")) if part in plan.teacher_parts)
    # the same texts, and so the same vectors, may be weighted otherwise
    weighted = "users" in plan.teacher_parts and teacher.weights.by != "none"
    return (*steps, "profiles") if weighted else steps


def encoder_key(plan: Plan) -> dict[str, Any]:
    """Everything in the recipe that shapes an encoded text; views are of items alone."""
    encoder = {name: value for name, value in plan.config["encoder"].items() if name != "views"}
    return {"encoder": encoder, **hash_model_folders("encoder_files", plan.recipe.encoder.models)}


def item_encoder_key(plan: Plan) -> dict[str, Any]:
    """Everything in the recipe that shapes the vector of an item; without views that of a text."""
    views = plan.config["encoder"]["views"]
    if not views:
        return encoder_key(plan)
    folders = hash_model_folders("encoder_files", plan.recipe.encoder.item_models)
    return {**encoder_key(plan), "views": views, **folders}


def hash_model_folders(key: str, models: Iterable[str | None]) -> dict[str, dict[str, str]]:
    """Hashes of the models that are folders, by name; empty if none is, so that earlier work is found."""
    folders = {model: Path(model).expanduser() for model in models if model and model not in (PACKAGED, TFIDF)}
    hashes = {model: hash_directory(folder) for model, folder in folders.items() if folder.is_dir()}
    return {key: hashes} if hashes else {}


def hash_given(path: Path | None) -> str | None:
    """Hash of given files: other content under the same name is another teacher."""
    return hash_directory(path) if path is not None and path.exists() else None


def profiles_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Write the profiles. They read the held split under both protocols: a profile must not know validation events."""
    context = pipeline.context
    interactions, items = load_tables(pipeline).interactions, load_items(pipeline)
    split = load_split(pipeline.ensure_path("split"))
    config = profiles_in_data_directory(context.recipe.profiles, context.data_dir)
    store = ProfileStore(context.engine)

    histories = user_histories(split, interactions)
    report = write_profiles(histories, items, config, store, context.language_model, context.progress)
    texts = profiles_tables(histories, items, config, store, report)
    n_texts, n_distinct = write_profiles_table(work / PROFILES_FILE, config, texts)
    context.progress.say(f"{n_texts} texts, {n_distinct} of them distinct")
    if (quality := measure_profiles(work / PROFILES_FILE)) is not None:
        context.progress.say(quality.line())
        if (warning := quality.warning()) is not None:
            context.progress.say(warning)


def vectors_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Write the vectors of the profiles."""
    context = pipeline.context
    if (n_shards := context.recipe.encoder.shards) is not None:
        encode_shards(pipeline, work, n_shards)
        return
    table = pl.read_parquet(pipeline.ensure_path("profiles") / PROFILES_FILE)
    vectors = encode_profiles(table, context.recipe.encoder, context.progress, cache_path=work / _CACHE)
    write_vectors(work / VECTORS_FILE, vectors.ids, vectors.vectors, parts=vectors.parts)
    _delete_cache(work)


def given_users_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Write the user vectors of a file, by id."""
    path = in_data_directory(pipeline.context.recipe.teacher, pipeline.context.data_dir).users_path
    if path is None:
        raise TeacherError("[teacher] users = 'file' needs users_path, the Parquet file that holds the vectors.")
    read = read_given_vectors(path, "user_id")
    write_vectors(work / VECTORS_FILE, read.ids, read.vectors, parts=read.parts)
    pipeline.context.progress.say(f"{len(read.ids)} users have ready vectors, {read.vectors.shape[1]} wide")


def items_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Write the vectors of the items' texts."""
    context, items = pipeline.context, load_items(pipeline)
    vectors = encode_items(items, context.recipe.encoder, context.progress, cache_path=work / _CACHE)
    write_vectors(work / VECTORS_FILE, vectors.ids, vectors.vectors, "item_id")
    _delete_cache(work)


def _delete_cache(work: Path) -> None:
    """The cache serves an interrupted encoding; a finished one does not need it."""
    for file in work.glob(f"{_CACHE}*"):
        file.unlink()


def given_items_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Write the item vectors of a file or a published folder, by id."""
    config = in_data_directory(pipeline.context.recipe.teacher, pipeline.context.data_dir)
    if config.items_path is None:
        raise TeacherError(f"[teacher] items = {config.items!r} needs items_path, the file or folder that holds them.")
    published = config.items == "published"
    read = read_published_items(config.items_path) if published else read_given_vectors(config.items_path, "item_id")
    write_vectors(work / VECTORS_FILE, read.ids, read.vectors, "item_id")


def tuned_items_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Write the item vectors of the tuned encoder, from the held split under both protocols, as profiles are."""
    from retort.offline.teachers.list_builders import ItemKnowledge, tuned_items  # loads torch

    context, split = pipeline.context, load_split(pipeline.ensure_path("split"))
    known = ItemKnowledge(load_items(pipeline), None, context.recipe.encoder)
    ids, vectors = tuned_items(split, known, context.recipe.teacher, context.progress)
    write_vectors(work / VECTORS_FILE, ids, vectors, "item_id")


def mapped_items_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Write the item vectors in the directions of co-occurrence, from the held split under both protocols."""
    from retort.offline.teachers.co_occurrence import co_occurrence_vectors

    config, split = pipeline.context.recipe.teacher.co_occurrence, load_split(pipeline.ensure_path("split"))
    stored = read_vectors(pipeline.ensure_path("items") / VECTORS_FILE, "item_id")
    mapped = co_occurrence_vectors(split, stored, config)
    write_vectors(work / VECTORS_FILE, mapped.ids, mapped.vectors, "item_id")


def teacher_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Fit the reducer and write the reduced vectors of the users."""
    if (n_shards := pipeline.context.recipe.encoder.shards) is not None:
        reduce_users(pipeline, work, n_shards)
        return
    stored = read_vectors(pipeline.ensure_path("vectors") / VECTORS_FILE)
    # vectors of aspects that stay apart share one reducer; each is a point of its own
    apart = stored.vectors.reshape(len(stored.ids) * stored.parts, -1)
    reduced = fit_reducer(apart, pipeline.context.recipe.reducer, pipeline.context.progress)
    reduced.reducer.save(work / "reducer")
    write_vectors(work / VECTORS_FILE, stored.ids, reduced.vectors.reshape(len(stored.ids), -1), parts=stored.parts)
