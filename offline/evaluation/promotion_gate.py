"""Promotion gate of the command line: the sealed ranks of two bundles, or both graphs on the test of a run's split.

Ranks of different tests cannot be paired. That is the usual case after a training on newer data.
"""

# Shapes: B cases of a batch, K list length

from pathlib import Path

import numpy as np
import polars as pl

from retort.offline.common.progress import Progress
from retort.offline.data.split_store import load_split
from retort.offline.evaluation.compare import compare
from retort.offline.evaluation.evaluate import EvaluationConfig, evaluate, tabulate_ranks
from retort.shared.base.errors import DataError
from retort.shared.base.schema import PAD
from retort.shared.model.bundle import Bundle
from retort.shared.model.item_index import ItemIndex
from retort.shared.model.paired_test import parse_metric
from retort.shared.model.promotion_gate import RESAMPLES, Verdict, check_sealed, declared_metric, lost_by_export
from retort.shared.model.scoring import Scorer
from retort.shared.model.sequences import IntArray


def check_promotion(
    champion: Bundle, challenger: Bundle, metric: str | None, split_dir: Path | None, progress: Progress
) -> Verdict:
    """Compare two bundles; the gate fails if the 95 % interval lies wholly below 0 or cannot be computed.

    Args:
        metric: hr, ndcg or mrr at a k; None: NDCG at the challenger's own first k.
        split_dir: A run's split, on whose test both bundles are evaluated; None: the ranks in the bundles are paired.
    """
    if split_dir is None:
        return check_sealed(champion.path, challenger.path, metric)
    if (lost := lost_by_export(challenger.manifest)) is not None:
        return Verdict(False, lost)
    metric = metric or declared_metric(challenger.manifest)
    before, after = (_evaluate_bundle(bundle, split_dir, metric, progress) for bundle in (champion, challenger))
    return Verdict.of_comparison(compare([before], [after], metric, resamples=RESAMPLES))


def _evaluate_bundle(bundle: Bundle, split_dir: Path, metric: str, progress: Progress) -> pl.DataFrame:
    """Ranks (user_id, rank) of the split's test cases by the bundle's own graph."""
    if not split_dir.is_dir():
        raise DataError(f"there is no directory {split_dir}; name the split directory of a run.")
    split = load_split(split_dir)
    ranker = BundleRanker(bundle, split.item_index)
    config = EvaluationConfig(k=(parse_metric(metric)[1],))
    evaluation = evaluate(ranker, split.test, config, progress, f"evaluating {bundle.bundle_id}")
    return tabulate_ranks(evaluation, split.test, split)


class BundleRanker:
    """Ranker over a bundle in the item indexes of another split; items that the bundle does not know are left out.

    It reads as much of a history, and hides or shows seen items, as serving does with this bundle.
    """

    def __init__(self, bundle: Bundle, items: ItemIndex) -> None:
        self._bundle = bundle
        self._scorer: Scorer = bundle.scorer()
        own = bundle.item_index
        self._to_own = np.array([PAD, *(own.index(item_id) or PAD for item_id in items.ids)], dtype=np.int64)
        self._to_theirs = np.array([PAD, *(items.index(item_id) or PAD for item_id in own.ids)], dtype=np.int64)

    def top_k(self, histories: list[IntArray], k: int, hidden: list[IntArray], users: IntArray) -> IntArray:
        """Rank items as (B, K) indexes of the other split; a place whose item it does not have is PAD."""
        read = [self._bundle.newest(history) for history in self._own(histories)]
        seen = self._own(hidden) if self._bundle.hides_seen else [np.zeros(0, dtype=np.int64)] * len(hidden)
        ranked = self._scorer.top_k(read, k, hidden=seen)
        return self._to_theirs[ranked.items_BK]

    def _own(self, lists: list[IntArray]) -> list[IntArray]:
        mapped = [self._to_own[one] for one in lists]
        return [one[one != PAD] for one in mapped]
