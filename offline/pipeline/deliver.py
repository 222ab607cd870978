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
    Context,
    asked_split,
    tables_of,
    trained,
    validated,
)
from retort.offline.pipeline.dag import Line
from retort.offline.pipeline.train import new_student
from retort.shared.base.errors import DataError


def export_step(line: Line[Context], work: Path) -> None:
    import numpy as np
    from safetensors.torch import load_file

    from retort.offline.export.onnx import export_student, item_vectors
    from retort.shared.model.bundle import ITEM_VECTORS, MODEL

    split = load_split(line.path(asked_split(line)))
    student = new_student(line.context.recipe, len(split.item_index))
    student.load_state_dict(load_file(line.path(trained(line)) / STUDENT_FILE))
    (work / MODEL).write_bytes(export_student(student))
    np.save(work / ITEM_VECTORS, item_vectors(student), allow_pickle=False)


def evaluate_step(line: Line[Context], work: Path) -> None:
    from retort.offline.evaluation.evaluate import GraphRanker, PopularityRanker, evaluate, per_user, slices, summarise
    from retort.shared.model.bundle import export_scorer

    context = line.context
    recipe, config = context.recipe, context.recipe.evaluation
    split, tables = load_split(line.path(asked_split(line))), tables_of(line)
    n_items = len(split.item_index)
    scorer = export_scorer(line.path("export"), n_items=n_items, max_length=recipe.student.max_length)
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
        "validation": validated(line),
        "baselines": {"popularity": summarise(popular, config, n_items)},
    }
    (work / METRICS_FILE).write_bytes(orjson.dumps(said, option=orjson.OPT_INDENT_2))
    per_user(test, split.test, split, subsets).write_parquet(work / USERS_FILE)


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


def seal_step(line: Line[Context], work: Path) -> None:
    from retort.offline.export.bundle_builder import seal

    recipe = line.context.recipe
    bundle_id = seal(
        line.run_dir.bundles,
        recipe=recipe.as_json(),
        loaded=tables_of(line),
        split=load_split(line.path(asked_split(line))),
        exported=line.path("export"),
        metrics=orjson.loads((line.path("evaluate") / METRICS_FILE).read_bytes()),
        ranks=pl.read_parquet(line.path("evaluate") / USERS_FILE),
    )
    (work / BUNDLE_FILE).write_bytes(orjson.dumps({"bundle_id": bundle_id}))


def publish_step(line: Line[Context], work: Path) -> None:
    """Hand the bundle to serving. What serves changes by decision: only the very first bundle becomes champion."""
    from retort.offline.export.publish import publish_to

    context = line.context
    if context.bundles_dir is None:
        raise DataError("this run was not told where bundles are published; set RETORT_HOME.")
    published = publish_to(context.engine, bundle_of(line), context.bundles_dir)
    context.progress.say(f"published {published.name}@{published.version}: {published.uri}")


def bundle_of(line: Line[Context]) -> Path:
    """Where the sealed bundle lies."""
    said = orjson.loads((line.path("seal") / BUNDLE_FILE).read_bytes())
    return line.run_dir.bundles / said["bundle_id"]
