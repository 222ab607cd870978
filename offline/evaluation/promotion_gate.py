"""The promotion gate: is a challenger worse than what serves, user by user?

Both bundles were measured when they were sealed and carry the rank of each test user. Where they were asked the same
test, the ranks are paired; where not (the usual case after a training on newer data), both graphs are asked the test
of a run's split now.
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
from retort.offline.evaluation.evaluate import EvaluationConfig, evaluate, per_user
from retort.shared.base.errors import DataError
from retort.shared.base.schema import PAD
from retort.shared.model.bundle import USERS_TEST, Bundle
from retort.shared.model.item_index import ItemIndex
from retort.shared.model.scoring import Scorer
from retort.shared.model.sequences import IntArray


@dataclass(frozen=True)
class Verdict:
    """Whether the challenger may stand in the champion's place, and the sentence that says why."""

    passed: bool
    reason: str


def weigh(
    champion: Bundle, challenger: Bundle, metric: str | None, split_dir: Path | None, progress: Progress
) -> Verdict:
    """Not passed if the whole 95 % interval of the difference, paired by user, lies below 0, or if none can be had.

    metric: None is NDCG at the challenger's own first k. split_dir: a run's split, whose test both are asked.
    """
    metric = metric or declared_metric(challenger)
    if split_dir is not None:
        before, after = (_asked(bundle, split_dir, metric, progress) for bundle in (champion, challenger))
    elif (difference := _different_tests(champion, challenger, metric)) is not None:
        return Verdict(False, difference)
    else:
        before, after = _sealed_ranks(champion), _sealed_ranks(challenger)
    compared = compare([before], [after], metric, resamples=2000)
    return Verdict(compared.high >= 0, f"{compared.sentence()}.")


def declared_metric(bundle: Bundle) -> str:
    """NDCG at the first k of the recipe's `[evaluation]`."""
    return f"ndcg@{_evaluation(bundle).k[0]}"


def _evaluation(bundle: Bundle) -> EvaluationConfig:
    """How long the lists of the bundle's test were and what was read for them; unsaid, the default."""
    said = bundle.manifest.recipe.get("evaluation", {})
    known = {key: said[key] for key in ("k", "last_items") if said.get(key)}
    return parse_section(EvaluationConfig, known, "evaluation")


def _different_tests(champion: Bundle, challenger: Bundle, metric: str) -> str | None:
    """Why the sealed ranks cannot be paired, or None."""
    for bundle in (champion, challenger):
        if USERS_TEST not in bundle.manifest.files:
            return f"bundle {bundle.bundle_id} holds no ranks of its test users; name a run's split with --cases."
        # beyond its end a list knows no rank, and what the other found there would count for it alone
        k, places = metric.rpartition("@")[2], max(_evaluation(bundle).k)
        if k.isdigit() and int(k) > places:
            return (
                f"the test lists of {bundle.bundle_id} have {places} places, too few for {metric}; name a run's split "
                "with --cases, or a smaller metric."
            )
    if _question(champion) != _question(challenger):
        return "the two were measured on different tests (data, split or protocol); name a run's split with --cases."
    return None


def _question(bundle: Bundle) -> tuple[object, ...]:
    said = bundle.manifest
    asked = (said.data_hash, said.protocol, said.recipe.get("split"), said.metrics.get("seen_hidden"))
    return (*asked, _evaluation(bundle).last_items)


def _sealed_ranks(bundle: Bundle) -> pl.DataFrame:
    return pl.read_parquet(bundle.path / USERS_TEST).rename({"user": "user_id"})


def _asked(bundle: Bundle, split_dir: Path, metric: str, progress: Progress) -> pl.DataFrame:
    """user_id, rank of the split's test cases by the bundle's own graph."""
    if not split_dir.is_dir():
        raise DataError(f"there is no directory {split_dir}; name the split directory of a run.")
    split = load_split(split_dir)
    ranker = BundleRanker(bundle, split.item_index)
    k = metric.rpartition("@")[2]
    config = EvaluationConfig(k=(int(k),)) if k.isdigit() else EvaluationConfig()
    evaluation = evaluate(ranker, split.test, config, progress, f"asking {bundle.bundle_id}")
    return per_user(evaluation, split.test, split)


class BundleRanker:
    """A bundle asked in another index's numbers; an item that it does not know is neither read nor given."""

    def __init__(self, bundle: Bundle, items: ItemIndex) -> None:
        self._scorer: Scorer = bundle.scorer()
        own = bundle.item_index
        self._to_own = np.array([PAD, *(own.index(item_id) or PAD for item_id in items.ids)], dtype=np.int64)
        self._to_theirs = np.array([PAD, *(items.index(item_id) or PAD for item_id in own.ids)], dtype=np.int64)

    def top_k(self, histories: list[IntArray], k: int, hidden: list[IntArray], users: IntArray) -> IntArray:
        """(B, K) item indexes of the other index; an item that it does not have leaves its place empty."""
        ranked = self._scorer.top_k(self._own(histories), k, hidden=self._own(hidden))
        return self._to_theirs[ranked.items_BK]

    def _own(self, lists: list[IntArray]) -> list[IntArray]:
        mapped = [self._to_own[one] for one in lists]
        return [one[one != PAD] for one in mapped]
