"""Experiment on cold items: what their texts are worth to a trained student.

A share of the items is hidden from all training. The map of `retort items add` then adds them to the trained student by
their texts, and the cases are users who chose one of them next. Word counts are the baseline: the gain of a language
model over them is knowledge beyond the words. Other items' texts and noise are the controls.
"""

# Shapes: N items the student knows, M new items, B batch, K list length, D embedding_dim

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sqlalchemy import Engine

from retort.offline.common.progress import Progress
from retort.offline.data.split import Cases, Split, make_split
from retort.offline.embeddings.encoder import concatenate_normalized
from retort.offline.embeddings.encoder_config import EncoderConfig
from retort.offline.embeddings.item_vectors import encode_items
from retort.offline.embeddings.tfidf import TFIDF
from retort.offline.embeddings.vectors import Vectors
from retort.offline.evaluation.evaluate import EvaluationConfig, GraphRanker, evaluate, mean_metrics
from retort.offline.experiments.cold_item_data import ColdItemData, hide_items, make_cold_cases
from retort.offline.experiments.results import METRIC, compare_ranks
from retort.offline.export.item_regression import grown_scorer, new_rows
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import make_context
from retort.offline.pipeline.outcome import run_pipeline
from retort.offline.recipes.recipe import Recipe
from retort.offline.teachers.controls import derangement, gaussian
from retort.shared.base.errors import RecipeError
from retort.shared.base.schema import USER_ID
from retort.shared.model.bundle import Bundle, open_bundle
from retort.shared.model.item_index import ItemIndex
from retort.shared.model.scoring import Scorer
from retort.shared.model.sequences import IntArray

WORDS, OTHERS = "word counts", "other items' texts"
VIEWS, NO_KNOWLEDGE, OTHERS_KNOWLEDGE = "views", "views without knowledge", "views, other items' knowledge"
_ALONE = (WORDS, VIEWS, NO_KNOWLEDGE, OTHERS_KNOWLEDGE)  # not combined with word counts, which views hold
_BASELINES = (WORDS, f"{OTHERS} + {WORDS}", NO_KNOWLEDGE)


@dataclass(frozen=True)
class ColdItemRanker:
    """Ranking of the cold items alone, by the grown graph."""

    scorer: Scorer
    n_known: int

    def top_k(self, histories: list[IntArray], k: int, hidden: list[IntArray], users: IntArray) -> IntArray:
        known = np.arange(1, self.n_known + 1)
        return self.scorer.top_k(histories, k, hidden=[known] * len(histories), users=users + 1).items_BK


@dataclass(frozen=True)
class ColdItemEvaluation:
    """Evaluation of one student with cold items.

    Attributes:
        metrics: Values by name.
        ranks: Each target's rank among the cold items ("new") and among all items ("all").
    """

    metrics: Mapping[str, float]
    ranks: Mapping[str, pl.DataFrame]


def evaluate_cold_items(
    bundle: Bundle,
    vectors: Vectors,
    cases: Cases,
    split: Split,
    config: EvaluationConfig,
    progress: Progress,
    places: float | None = None,
) -> ColdItemEvaluation:
    """Add the cold items to a bundle by their vectors, and rank them among all items and among the cold items.

    Args:
        bundle: Of a student that was trained without the cold items.
        vectors: Text vectors of all items.
        cases: Of `make_cold_cases`.
        split: Of the known items; its test cases show what the cold items cost the known ones.
        config: Settings of the evaluation.
        progress: Of the evaluation.
        places: Largest share of the places in lists of ten for the cold items; None: their share of the catalogue.

    Returns:
        HR, NDCG and MRR at 10 of the cold items in lists of all items ("of all") and of cold items ("of new"), and of
        the known items before and after; `fit` is R² of the map, `places` the cold items' share of the places.
    """
    new = new_rows(bundle, vectors, np.array([item_id in bundle.item_index for item_id in vectors.ids]), places)
    n_known, scorer = bundle.manifest.n_items, grown_scorer(bundle, new.rows_MD)
    evaluations = {
        "all": evaluate(GraphRanker(scorer), cases, config, progress, "new of all"),
        "new": evaluate(ColdItemRanker(scorer, n_known), cases, config, progress, "new"),
        "known": evaluate(GraphRanker(scorer), split.test, config, progress, "known"),
    }
    metrics = {"cases": float(len(cases)), "fit": new.fit}
    for label, evaluation in evaluations.items():
        metrics |= {f"{name} of {label}": value for name, value in mean_metrics(evaluation.ranks_U, (10,)).items()}
    metrics[f"{METRIC} of known, alone"] = float(bundle.manifest.metrics["test"][METRIC])
    metrics["places"] = float((evaluations["known"].items_UK[:, :10] > n_known).mean())
    user_ids = [split.user_ids[user] for user in cases.users]
    ranks = {label: pl.DataFrame({USER_ID: user_ids, "rank": evaluations[label].ranks_U}) for label in ("new", "all")}
    return ColdItemEvaluation(metrics, ranks)


def make_arms(vectors: Mapping[str, Vectors], seed: int) -> dict[str, Vectors]:
    """Make the arms: each encoder, each encoder combined with word counts, and controls of the first encoder."""
    words = vectors[WORDS]
    encoded = {name: of_encoder for name, of_encoder in vectors.items() if name not in _ALONE}
    if not encoded:
        return dict(vectors)
    combined = {f"{name} + {WORDS}": _concatenate(of_encoder, words) for name, of_encoder in encoded.items()}
    first = next(iter(encoded.values()))
    present = np.ones(len(first.ids), dtype=bool)
    others = Vectors(first.ids, first.vectors[derangement(present, seed)])
    controls = {
        _BASELINES[1]: _concatenate(others, words),
        OTHERS: others,
        "noise": Vectors(first.ids, gaussian(first.vectors, present, seed)),
    }
    return {**vectors, **combined, **controls}


def _concatenate(first: Vectors, second: Vectors) -> Vectors:
    """The vectors of `[encoder] model = "first + second"`."""
    row_of = {item_id: row for row, item_id in enumerate(second.ids)}
    rows = [row_of[item_id] for item_id in first.ids]
    return Vectors(first.ids, concatenate_normalized([first.vectors, second.vectors[rows]]))


@dataclass(frozen=True)
class ColdItemExperiment:
    """Experiment on one recipe's student: a share of the items is hidden, and encoders add them by their texts."""

    recipe: Recipe
    data: Path | None
    out: Path
    encoders: Sequence[str]
    share: float
    seeds: Sequence[int]
    engine: Engine
    progress: Progress
    draw: int = 0
    places: float | None = None

    def run(self) -> list[dict[str, Any]]:
        """Train a student for each seed and evaluate all arms.

        Returns:
            A row for each arm: means over seeds, and the paired differences of its ranks among the cold items and
            among all items from the baselines: word counts; word counts combined with other items' texts, whose vectors
            are as wide as those of a combined encoder; and the views without knowledge.

        Raises:
            RecipeError: No encoder but word counts is named.
        """
        if not set(self.encoders) - {TFIDF} and not self.recipe.encoder.views:
            raise RecipeError(f"{WORDS} are always an arm; name a text encoder to compare with them (--encoder).")
        data = hide_items(self.recipe, self.data, self.share, self.out, self.progress, self.draw)
        split = make_split(data.known, self.recipe.split, self.recipe.protocol)
        vectors = {WORDS: self._encode(data, TFIDF)}
        vectors |= {model: self._encode(data, model) for model in self.encoders if model != TFIDF}
        vectors |= self._encode_views(data)
        # every encoder reads the same items in the same order, so all grown students have this index
        new = [item_id for item_id in vectors[WORDS].ids if item_id not in split.item_index]
        cases = make_cold_cases(data, split, ItemIndex([*split.item_index.ids, *new]))
        evaluations: dict[str, list[ColdItemEvaluation]] = {}
        for seed in self.seeds:
            bundle = self._train_bundle(data, seed)
            for name, of_arm in make_arms(vectors, seed).items():
                self.progress.say(f"── new items by {name}, seed {seed}")
                evaluation = evaluate_cold_items(
                    bundle, of_arm, cases, split, self.recipe.evaluation, self.progress, self.places
                )
                evaluations.setdefault(name, []).append(evaluation)
        return [_row(name, evaluations) for name in evaluations]

    def _encode(self, data: ColdItemData, model: str) -> Vectors:
        return self._encode_by(data, self.recipe.encoder.model_copy(update={"model": model, "views": ()}))

    def _encode_views(self, data: ColdItemData) -> dict[str, Vectors]:
        """Vectors by the recipe's views, by those without knowledge, and with other items' knowledge."""
        encoder = self.recipe.encoder
        if not encoder.views:
            return {}
        views = {VIEWS: encoder.views}
        if encoder.reads_knowledge:
            views[NO_KNOWLEDGE] = tuple(view for view in encoder.views if view.text not in ("knowledge", "all"))
            views[OTHERS_KNOWLEDGE] = tuple(
                view.model_copy(update={"control": "shuffled"}) if view.text == "knowledge" else view
                for view in encoder.views
            )
        made = {name: encoder.model_copy(update={"views": of_arm}) for name, of_arm in views.items() if of_arm}
        return {name: self._encode_by(data, config) for name, config in made.items()}

    def _encode_by(self, data: ColdItemData, config: EncoderConfig) -> Vectors:
        # outside the data's folder: every file in that folder counts as raw data in the cache keys
        return encode_items(data.loaded.items, config, self.progress, data.folder.parent / "vectors.sqlite")

    def _train_bundle(self, data: ColdItemData, seed: int) -> Bundle:
        context = make_context(data.make_recipe(self.recipe, seed), data.folder, self.engine, self.progress)
        return open_bundle(run_pipeline(make_pipeline(context, self.out)).bundle)


def _row(name: str, evaluations: Mapping[str, Sequence[ColdItemEvaluation]]) -> dict[str, Any]:
    mine = evaluations[name]
    row: dict[str, Any] = {"new items by": name, "seeds": len(mine)}
    row |= {key: float(np.mean([evaluation.metrics[key] for evaluation in mine])) for key in mine[0].metrics}
    for baseline in (name for name in _BASELINES if name in evaluations):
        for among, label in (("new", ""), ("all", ", of all")):
            difference = None if baseline == name else _relative_difference(evaluations[baseline], mine, among)
            for key in ("gain", "low", "high", "p"):
                row[f"to {baseline}{label}, {key}"] = difference[key] if difference else None
    return row


def _relative_difference(
    baseline: Sequence[ColdItemEvaluation], arm: Sequence[ColdItemEvaluation], among: str
) -> dict[str, float]:
    """Difference of the ranks among new or all items as a share of the baseline, with its 95 % interval."""
    ranks = [[evaluation.ranks[among] for evaluation in of_arm] for of_arm in (baseline, arm)]
    compared = compare_ranks(*ranks, whole=False)
    base = compared.a or float("nan")
    return {"gain": compared.relative, "low": compared.low / base, "high": compared.high / base, "p": compared.p}
