"""Promotion gate: a paired test of whether a challenger is worse than the champion.

Bundles hold the ranks of their test cases. If both were evaluated on the same test, these ranks are paired. If not (the
usual case after a training on newer data), both graphs are evaluated on the test of a run's split.
"""

# Shapes: B cases of a batch, K list length

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from retort.offline.common.progress import Progress
from retort.offline.common.section import parse_section
from retort.offline.data.split_store import load_split
from retort.offline.evaluation.compare import compare
from retort.offline.evaluation.evaluate import EvaluationConfig, evaluate, tabulate_ranks
from retort.shared.base.errors import BundleError, DataError
from retort.shared.base.schema import PAD
from retort.shared.model.bundle import USERS_TEST, Bundle
from retort.shared.model.item_index import ItemIndex
from retort.shared.model.scoring import Scorer
from retort.shared.model.sequences import IntArray


@dataclass(frozen=True)
class Verdict:
    """Decision of the gate, with its reason in one sentence."""

    passed: bool
    reason: str


def check_promotion(
    champion: Bundle, challenger: Bundle, metric: str | None, split_dir: Path | None, progress: Progress
) -> Verdict:
    """Compare two bundles; the gate fails if the 95 % interval lies wholly below 0 or cannot be computed.

    Args:
        metric: hr, ndcg or mrr at a k; None: NDCG at the challenger's own first k.
        split_dir: A run's split, on whose test both bundles are evaluated; None: the ranks in the bundles are paired.
    """
    if (lost := _lost_by_retrieval(challenger)) is not None:
        return Verdict(False, lost)
    metric = metric or declared_metric(challenger)
    if (
        split_dir is None
        and (added := challenger.manifest.recipe.get("items_added", {})).get("to") == champion.bundle_id
    ):
        return Verdict(
            True,
            f"{challenger.bundle_id} is {champion.bundle_id} with {added['count']} items added: its own items keep "
            "their scores, and the new ones their share of the places.",
        )
    if split_dir is not None:
        before, after = (_evaluate_bundle(bundle, split_dir, metric, progress) for bundle in (champion, challenger))
    elif (difference := _different_tests(champion, challenger, metric)) is not None:
        return Verdict(False, difference)
    else:
        before, after = sealed_ranks(champion.path), sealed_ranks(challenger.path)
    compared = compare([before], [after], metric, resamples=2000)
    return Verdict(compared.high >= 0, f"{compared.sentence()}.")


def _lost_by_retrieval(challenger: Bundle) -> str | None:
    """Why the graph's two-stage retrieval loses too much against its own exact scores, or None."""
    report = challenger.manifest.metrics.get("retrieval", {})
    if report.get("retrieval") != "two_stage" or report["agreement@10"] >= report["required"]:
        return None
    return (
        f"its two-stage retrieval agrees with exact scores on {report['agreement@10']:.2%} of the first ten, and "
        f'{report["required"]:.1%} are required; set [export] retrieval = "exact".'
    )


def declared_metric(bundle: Bundle) -> str:
    """NDCG at the first k of the recipe's `[evaluation]`."""
    return f"ndcg@{_evaluation(bundle).k[0]}"


def _evaluation(bundle: Bundle) -> EvaluationConfig:
    """List lengths and history length of the bundle's test; the defaults where the recipe does not set them."""
    section = bundle.manifest.recipe.get("evaluation", {})
    known = {key: section[key] for key in ("k", "last_items") if section.get(key)}
    return parse_section(EvaluationConfig, known, "evaluation")


def _different_tests(champion: Bundle, challenger: Bundle, metric: str) -> str | None:
    """Why the sealed ranks cannot be paired, or None."""
    for bundle in (champion, challenger):
        if USERS_TEST not in bundle.manifest.files:
            return f"bundle {bundle.bundle_id} holds no ranks of its test users; name a run's split with --cases."
        # a list has no ranks beyond its end, so hits of the other bundle there would count for it alone
        k, places = metric.rpartition("@")[2], max(_evaluation(bundle).k)
        if k.isdigit() and int(k) > places:
            return (
                f"the test lists of {bundle.bundle_id} have {places} places, too few for {metric}; name a run's split "
                "with --cases, or a smaller metric."
            )
    if _test_settings(champion) != _test_settings(challenger):
        return "the two were evaluated on different tests (data, split or protocol); name a run's split with --cases."
    return None


def _test_settings(bundle: Bundle) -> tuple[object, ...]:
    manifest = bundle.manifest
    split, seen_hidden = manifest.recipe.get("split"), manifest.metrics.get("seen_hidden")
    return (manifest.data_hash, manifest.protocol, split, seen_hidden, _evaluation(bundle).last_items)


def sealed_ranks(bundle: Path) -> pl.DataFrame:
    """Read user_id and rank of the test cases from a bundle's directory."""
    try:
        return pl.read_parquet(bundle / USERS_TEST).select(pl.col("user").alias("user_id"), pl.col("rank"))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BundleError(
            f"{bundle}: {USERS_TEST} cannot be read ({str(error).splitlines()[0]}); publish the bundle again, or name "
            "a run's split with --cases."
        ) from None


def _evaluate_bundle(bundle: Bundle, split_dir: Path, metric: str, progress: Progress) -> pl.DataFrame:
    """Ranks (user_id, rank) of the split's test cases by the bundle's own graph."""
    if not split_dir.is_dir():
        raise DataError(f"there is no directory {split_dir}; name the split directory of a run.")
    split = load_split(split_dir)
    ranker = BundleRanker(bundle, split.item_index)
    k = metric.rpartition("@")[2]
    config = EvaluationConfig(k=(int(k),)) if k.isdigit() else EvaluationConfig()
    evaluation = evaluate(ranker, split.test, config, progress, f"evaluating {bundle.bundle_id}")
    return tabulate_ranks(evaluation, split.test, split)


class BundleRanker:
    """Ranker over a bundle in the item indexes of another split; items that the bundle does not know are left out."""

    def __init__(self, bundle: Bundle, items: ItemIndex) -> None:
        self._scorer: Scorer = bundle.scorer()
        own = bundle.item_index
        self._to_own = np.array([PAD, *(own.index(item_id) or PAD for item_id in items.ids)], dtype=np.int64)
        self._to_theirs = np.array([PAD, *(items.index(item_id) or PAD for item_id in own.ids)], dtype=np.int64)

    def top_k(self, histories: list[IntArray], k: int, hidden: list[IntArray], users: IntArray) -> IntArray:
        """Rank items as (B, K) indexes of the other split; a place whose item it does not have is PAD."""
        ranked = self._scorer.top_k(self._own(histories), k, hidden=self._own(hidden))
        return self._to_theirs[ranked.items_BK]

    def _own(self, lists: list[IntArray]) -> list[IntArray]:
        mapped = [self._to_own[one] for one in lists]
        return [one[one != PAD] for one in mapped]
