"""Weights → graph → test → sealed bundle → registry."""

from pathlib import Path
from typing import Any

import orjson
import polars as pl

from retort.offline.data.load import Loaded
from retort.offline.data.split import Cases, Split, train_popularity
from retort.offline.data.split_store import load_split
from retort.offline.pipeline.context import (
    BUNDLE_FILE,
    METRICS_FILE,
    STUDENT_FILE,
    USERS_FILE,
    VALIDATION_FILE,
    RunContext,
    bundle_path,
    evaluated_split_step,
    load_tables,
    weights_step,
)
from retort.offline.pipeline.dag import Pipeline
from retort.offline.pipeline.train import new_student
from retort.shared.base.errors import DataError


def export_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    import numpy as np
    from safetensors.torch import load_file

    from retort.offline.export.onnx import export_student, item_vectors
    from retort.shared.model.bundle import ITEM_VECTORS, MODEL

    split = load_split(pipeline.ensure_path(evaluated_split_step(pipeline)))
    student = new_student(pipeline.context.recipe, len(split.item_index))
    student.load_state_dict(load_file(pipeline.ensure_path(weights_step(pipeline)) / STUDENT_FILE))
    (work / MODEL).write_bytes(export_student(student))
    np.save(work / ITEM_VECTORS, item_vectors(student), allow_pickle=False)


def evaluate_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    from retort.offline.evaluation.evaluate import GraphRanker, PopularityRanker, evaluate, per_user, slices, summarise
    from retort.shared.model.bundle import export_scorer

    context = pipeline.context
    recipe, config = context.recipe, context.recipe.evaluation
    split, tables = load_split(pipeline.ensure_path(evaluated_split_step(pipeline))), load_tables(pipeline)
    n_items = len(split.item_index)
    scorer = export_scorer(pipeline.ensure_path("export"), n_items=n_items, max_length=recipe.student.max_length)
    ranker = GraphRanker(scorer)
    test = evaluate(ranker, split.test, config, context.progress, "scoring the test")
    popular = evaluate(
        PopularityRanker(train_popularity(split)), split.test, config, context.progress, "scoring popularity"
    )
    subsets = subsets_of(tables, split, config.subsets)
    said = {
        "protocol": recipe.protocol,
        "seen_hidden": config.hide_seen,
        "cases": len(split.test),
        "cold_targets": _cold(split.test),
        "test": summarise(test, config, n_items),
        "slices": slices(test, split.test, split, config, subsets),
        "validation": read_validation(pipeline),
        "baselines": {"popularity": summarise(popular, config, n_items)},
    }
    (work / METRICS_FILE).write_bytes(orjson.dumps(said, option=orjson.OPT_INDENT_2))
    per_user(test, split.test, split, subsets).write_parquet(work / USERS_FILE)


def read_validation(pipeline: Pipeline[RunContext]) -> dict[str, float]:
    """Validation metrics of the held training at the recipe's list lengths; empty if the refit's epochs are given."""
    import numpy as np

    from retort.offline.evaluation.evaluate import means

    if "train" not in pipeline.steps:
        return {}
    ranks = np.load(pipeline.ensure_path("train") / VALIDATION_FILE, allow_pickle=False)
    return means(ranks, pipeline.context.recipe.evaluation.k)


def _cold(cases: Cases) -> int:
    return int((cases.targets == 0).sum())


def subsets_of(tables: Loaded, split: Split, names: tuple[str, ...]) -> dict[str, Any]:
    """name → (n_users,) bool, joined to the split's users by id; a user without a flag is outside."""
    if not names:
        return {}
    if tables.users is None:
        raise DataError(f"[evaluation] subsets names {names[0]!r}, but the data has no users table; add its file.")
    missing = [name for name in names if tables.users.schema.get(name) != pl.Boolean]
    if missing:
        raise DataError(f"the users table has no true/false column {missing[0]!r}; it has: {tables.users.columns}.")
    users = pl.DataFrame({"user_id": list(split.user_ids)}).join(
        tables.users, on="user_id", how="left", maintain_order="left"
    )
    return {name: users[name].fill_null(False).to_numpy() for name in names}


def seal_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    from retort.offline.export.bundle_builder import seal

    recipe = pipeline.context.recipe
    bundle_id = seal(
        pipeline.store.bundles,
        recipe=recipe.as_json(),
        loaded=load_tables(pipeline),
        split=load_split(pipeline.ensure_path(evaluated_split_step(pipeline))),
        exported=pipeline.ensure_path("export"),
        metrics=orjson.loads((pipeline.ensure_path("evaluate") / METRICS_FILE).read_bytes()),
        ranks=pl.read_parquet(pipeline.ensure_path("evaluate") / USERS_FILE),
    )
    (work / BUNDLE_FILE).write_bytes(orjson.dumps({"bundle_id": bundle_id}))


def publish_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Hand the bundle to serving. What serves changes by decision: only the very first bundle becomes champion."""
    from retort.offline.export.publish import publish_to

    context = pipeline.context
    if context.bundles_dir is None:
        raise DataError("this run was not told where bundles are published; set RETORT_HOME.")
    published = publish_to(context.engine, bundle_path(pipeline), context.bundles_dir)
    context.progress.say(f"published {published.name}@{published.version}: {published.uri}")
