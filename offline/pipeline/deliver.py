"""Weights → graph → evaluation → sealed bundle → registry."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from retort.offline.common.plugins import plugin_module
from retort.offline.data.split import Cases, Split, train_popularity
from retort.offline.data.split_store import load_split
from retort.offline.data.tables import Loaded
from retort.offline.embeddings.vectors import Vectors, read_vectors
from retort.offline.evaluation.evaluate import (
    GraphRanker,
    PopularityRanker,
    count_seen_targets,
    evaluate,
    mean_metrics,
    seen_targets_sentence,
    slice_metrics,
    summarise,
    tabulate_ranks,
)
from retort.offline.export.bundle_builder import seal
from retort.offline.export.publish import publish_to
from retort.offline.pipeline.artifact_store import TIMES
from retort.offline.pipeline.context import (
    BUNDLE_FILE,
    KNOWLEDGE_FILE,
    KNOWLEDGE_STEP,
    METRICS_FILE,
    PARITY_FILE,
    RETRIEVAL_FILE,
    STUDENT_FILE,
    USERS_FILE,
    VALIDATION_FILE,
    VECTORS_FILE,
    Plan,
    RunContext,
    bundle_path,
    evaluated_split_step,
    items_from,
    load_items,
    load_tables,
    weights_step,
)
from retort.offline.pipeline.dag import Pipeline, Step
from retort.offline.pipeline.train import new_student
from retort.offline.recipes.recipe import STUDENTS, Recipe
from retort.shared.base.errors import DataError
from retort.shared.model.bundle import MODEL, export_scorer


def deliver_steps(plan: Plan, *, publish: bool) -> list[Step[RunContext]]:
    """export, evaluate and seal, and publish on request."""
    weights, split = ("refit", "split_refit") if plan.recipe.protocol == "refit" else ("train", "split")
    splits = tuple(dict.fromkeys(("split", split)))
    found = ("train",) if plan.recipe.finds_epochs else ()
    exported = {"student": plan.config["student"], "export": plan.recipe.export.key()}
    evaluation = {"evaluation": plan.config["evaluation"]}
    plugins = (plugin_module(STUDENTS, plan.recipe.student_name),)
    sealed = ("export", "evaluate", *found, *(("vectors", "items") if has_profile_places(plan.recipe) else ()))
    steps = [
        Step("export", export_step, (weights, split), exported, plugins),
        Step("evaluate", evaluate_step, ("data", *splits, *found, "export"), evaluation),
        Step("seal", seal_step, (*items_from(plan), split, *sealed), {"recipe": plan.config}),
    ]
    if publish:
        steps.append(Step("publish", publish_step, ("seal",), kept=False))
    return steps


def export_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Write the student as an ONNX graph, and its item vectors."""
    from safetensors.torch import load_file  # loads torch

    from retort.offline.export.precision import describe_parity, write_vectors
    from retort.offline.export.retrieval import export_for_retrieval

    recipe = pipeline.context.recipe
    split = load_split(pipeline.ensure_path(evaluated_split_step(pipeline)))
    student = new_student(recipe, len(split.item_index))
    student.load_state_dict(load_file(pipeline.ensure_path(weights_step(pipeline)) / STUDENT_FILE))
    exported = export_for_retrieval(student, recipe.export, split.train)
    (work / MODEL).write_bytes(exported.graph)
    write_vectors(work, exported.vectors, exported.precision)
    if exported.report is not None:
        (work / RETRIEVAL_FILE).write_bytes(orjson.dumps(exported.report, option=orjson.OPT_NON_STR_KEYS))
    if exported.parity is not None:
        (work / PARITY_FILE).write_bytes(orjson.dumps(exported.parity))
        (work / TIMES).write_bytes(orjson.dumps(exported.times))
        pipeline.context.progress.say(describe_parity(exported.parity))
    elif recipe.export.precision != "fp32":
        pipeline.context.progress.say(f"the scores of {recipe.student_name} are no inner products: stored in fp32")


def evaluate_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Evaluate the graph and the popularity baseline on the test cases; write metrics and the rank of each user."""
    context = pipeline.context
    recipe, config = context.recipe, context.recipe.evaluation
    split, tables = load_split(pipeline.ensure_path(evaluated_split_step(pipeline))), load_tables(pipeline)
    n_items = len(split.item_index)
    scorer = export_scorer(pipeline.ensure_path("export"), n_items=n_items, max_length=recipe.student.max_length)
    test = evaluate(GraphRanker(scorer), split.test, config, context.progress, "scoring the test")
    baseline = PopularityRanker(train_popularity(split))
    popular = evaluate(baseline, split.test, config, context.progress, "scoring popularity")
    subsets = subsets_of(tables, split, config.subsets)
    n_seen = count_seen_targets(split.test)
    if config.hide_seen and n_seen:
        context.progress.say(seen_targets_sentence(n_seen, len(split.test)))
    metrics = {
        "protocol": recipe.protocol,
        "seen_hidden": config.hide_seen,
        "cases": len(split.test),
        "cold_targets": _count_cold(split.test),
        "seen_targets": n_seen,
        "test": summarise(test, config, n_items),
        "slices": slice_metrics(test, split.test, split, config, subsets),
        "validation": read_validation(pipeline),
        "baselines": {"popularity": summarise(popular, config, n_items)},
    }
    if config.last_items is not None:
        metrics["last_items"] = config.last_items
    (work / METRICS_FILE).write_bytes(orjson.dumps(metrics, option=orjson.OPT_INDENT_2))
    tabulate_ranks(test, split.test, split, subsets).write_parquet(work / USERS_FILE)


def read_validation(pipeline: Pipeline[RunContext]) -> dict[str, float]:
    """Validation metrics of the held training at the recipe's list lengths; empty if the refit's epochs are given."""
    if "train" not in pipeline.steps:
        return {}
    ranks = np.load(pipeline.ensure_path("train") / VALIDATION_FILE, allow_pickle=False)
    return mean_metrics(ranks, pipeline.context.recipe.evaluation.k)


def _count_cold(cases: Cases) -> int:
    """Cases whose target is a cold item: no train event names it."""
    return int((cases.targets == 0).sum())


def subsets_of(tables: Loaded, split: Split, names: tuple[str, ...]) -> dict[str, Any]:
    """name → (n_users,) bool, joined to the split's users by id. A user without a value is not in the subset."""
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
    """Seal the bundle in the artifact store and write its id."""
    has_knowledge = KNOWLEDGE_STEP in pipeline.steps
    exported = pipeline.ensure_path("export")
    metrics = orjson.loads((pipeline.ensure_path("evaluate") / METRICS_FILE).read_bytes())
    if (exported / RETRIEVAL_FILE).exists():
        metrics["retrieval"] = orjson.loads((exported / RETRIEVAL_FILE).read_bytes())
    if (exported / PARITY_FILE).exists():
        metrics["parity"] = orjson.loads((exported / PARITY_FILE).read_bytes())
    bundle_id = seal(
        pipeline.store.bundles,
        recipe=pipeline.context.recipe.as_json(),
        loaded=replace(load_tables(pipeline), items=load_items(pipeline)),
        split=load_split(pipeline.ensure_path(evaluated_split_step(pipeline))),
        exported=exported,
        metrics=metrics,
        ranks=pl.read_parquet(pipeline.ensure_path("evaluate") / USERS_FILE),
        knowledge=pl.read_parquet(pipeline.ensure_path(KNOWLEDGE_STEP) / KNOWLEDGE_FILE) if has_knowledge else None,
        profiles=_profile_vectors(pipeline) if "vectors" in pipeline.steps["seal"].needs else None,
    )
    (work / BUNDLE_FILE).write_bytes(orjson.dumps({"bundle_id": bundle_id}))


def has_profile_places(recipe: Recipe) -> bool:
    """Whether the run has vectors of profiles and of item texts by one encoder, so that a map can show both."""
    teacher, encoder = recipe.teacher, recipe.encoder
    return (
        recipe.reads_profiles
        and "items" in recipe.teacher_parts()
        and teacher.items in ("encoded", "co_occurrence")
        and encoder.items_comparable
        and encoder.shards is None
    )


def _profile_vectors(pipeline: Pipeline[RunContext]) -> tuple[Vectors, Vectors]:
    """Vectors of the users' profiles and of the items' texts."""
    users = read_vectors(pipeline.ensure_path("vectors") / VECTORS_FILE)
    return users, read_vectors(pipeline.ensure_path("items") / VECTORS_FILE, "item_id")


def publish_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Publish the bundle to the registry. Only the very first bundle becomes champion without a decision."""
    context = pipeline.context
    if context.bundles_dir is None:
        raise DataError("this run has no directory to publish bundles to; set RETORT_HOME.")
    published = publish_to(context.engine, bundle_path(pipeline), context.bundles_dir)
    context.progress.say(f"published {published.name}@{published.version}: {published.uri}")
