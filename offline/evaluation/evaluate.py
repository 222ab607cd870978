"""Full-ranking evaluation of a ranker, such as the exported graph, on test or validation cases.

A student is scored through the scorer that also serves it. Seen items are hidden unless the recipe says otherwise; the
result names the protocol.
"""

# Shapes: U cases, K list length

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from retort.offline.common.progress import Progress, track
from retort.offline.common.section import Section
from retort.offline.data.split import Cases, Split, train_popularity
from retort.offline.evaluation import metrics
from retort.shared.base.schema import PAD
from retort.shared.model.scoring import Ranked, Scorer
from retort.shared.model.sequences import IntArray

_CASES_PER_BATCH = 256
_LENGTH_EDGES = (5, 10, 30, 100)
_POPULARITY_EDGES = (3, 10, 30, 100)


class EvaluationConfig(Section):
    """Settings of the evaluation. Runs are compared by NDCG at the first `k`."""

    k: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(
        (10, 5, 20), min_length=1, description="list lengths of the metrics; runs are compared by the first"
    )
    hide_seen: bool = Field(True, description="never recommend items of the history")
    last_items: int | None = Field(None, ge=1, description="number of newest items that the student reads; unset: all")
    subsets: tuple[str, ...] = Field(
        (), description="boolean columns of the users table; metrics are also reported for each"
    )

    def truncate_histories(self, histories: list[IntArray]) -> list[IntArray]:
        """Cut each history to its newest `last_items` items."""
        return [history[-self.last_items :] for history in histories] if self.last_items else histories


class Ranker(Protocol):
    """Interface of a ranking of the catalogue by histories: the graph, a popularity list or a server."""

    def top_k(self, histories: list[IntArray], k: int, hidden: list[IntArray], users: IntArray) -> IntArray:
        """Rank the catalogue for each history.

        Args:
            histories: Item indexes of each case, oldest first.
            k: Length of the list.
            hidden: Item indexes of each case that must not be in its list.
            users: Position (B,) of each case's user in the split, from 0.

        Returns:
            Item indexes (B, K), best first, with PAD where the list is shorter.
        """


@dataclass(frozen=True)
class GraphRanker:
    """Ranking by the exported graph."""

    scorer: Scorer

    def top_k(self, histories: list[IntArray], k: int, hidden: list[IntArray], users: IntArray) -> IntArray:
        ranked: Ranked = self.scorer.top_k(histories, k, hidden=hidden, users=users + 1)
        return ranked.items_BK


@dataclass(frozen=True)
class PopularityRanker:
    """Ranking by train events, the same for every user except for hidden items; the simplest baseline."""

    popularity: NDArray[np.int64]

    def top_k(self, histories: list[IntArray], k: int, hidden: list[IntArray], users: IntArray) -> IntArray:
        order = np.argsort(-self.popularity[1:], kind="stable") + 1
        lists = np.full((len(histories), k), PAD, dtype=np.int64)
        for row, seen in zip(lists, hidden, strict=True):
            # the best k items that are not hidden are among the first k + |seen|
            front = order[: k + len(seen)]
            allowed = front[~np.isin(front, seen)][:k]
            row[: len(allowed)] = allowed
        return lists


@dataclass(frozen=True)
class Evaluation:
    """Lists of one ranker for a set of cases: items (U, K), and ranks (U,) of the targets (0: not in the list)."""

    items_UK: IntArray
    ranks_U: IntArray


def evaluate(ranker: Ranker, cases: Cases, config: EvaluationConfig, progress: Progress, label: str) -> Evaluation:
    """Rank the catalogue once for every case. label: of the progress bar."""
    k = max(config.k)
    items_UK = np.full((len(cases), k), PAD, dtype=np.int64)
    # similar lengths share a batch, so that less padding is computed
    order = np.argsort(cases.histories.lengths, kind="stable")
    groups = [order[first : first + _CASES_PER_BATCH] for first in range(0, len(order), _CASES_PER_BATCH)]
    for rows in track(groups, label, progress):
        histories = [cases.histories[int(row)] for row in rows]
        hidden = histories if config.hide_seen else [np.empty(0, np.int64)] * len(rows)
        # all seen items are hidden, also those beyond `last_items`
        items_UK[rows] = ranker.top_k(config.truncate_histories(histories), k, hidden, cases.users[rows])
    return Evaluation(items_UK, metrics.ranks_in_lists(items_UK, cases.targets))


def count_seen_targets(cases: Cases) -> int:
    """Count the cases whose target is in their own history: certain misses where seen items are hidden."""
    rows = np.repeat(np.arange(len(cases)), cases.histories.lengths)
    is_target = (cases.histories.values == cases.targets[rows]) & (cases.targets[rows] != PAD)
    return len(np.unique(rows[is_target]))


def seen_targets_sentence(n_seen: int, n_cases: int) -> str:
    """Explain the misses that hiding seen items makes certain, and what to set; "" without any."""
    if not n_seen:
        return ""
    return (
        f"{n_seen:,} of {n_cases:,} test targets are items that the user already had, and evaluation.hide_seen = true "
        "hides them, so each is a certain miss: set [evaluation] hide_seen = false to recommend items again, or [data] "
        'repeats = "first" to learn from first choices only'
    )


def summarise(evaluation: Evaluation, config: EvaluationConfig, n_items: int) -> dict[str, float]:
    """Compute `{"hr@10": …, "ndcg@10": …, "mrr@10": …, "coverage@10": …, …}` over all cases."""
    summary = mean_metrics(evaluation.ranks_U, config.k)
    for k in config.k:
        summary[f"coverage@{k}"] = metrics.coverage(evaluation.items_UK, k, n_items)
    return summary


def mean_metrics(ranks_U: IntArray, ks: tuple[int, ...]) -> dict[str, float]:
    """Compute HR, NDCG and MRR at each k; empty where there is no case."""
    if not len(ranks_U):
        return {}
    summary: dict[str, float] = {}
    for k in ks:
        summary[f"hr@{k}"] = float(metrics.hit_rate(ranks_U, k).mean())
        summary[f"ndcg@{k}"] = float(metrics.ndcg(ranks_U, k).mean())
        summary[f"mrr@{k}"] = float(metrics.mrr(ranks_U, k).mean())
    return summary


def slice_metrics(
    evaluation: Evaluation,
    cases: Cases,
    split: Split,
    config: EvaluationConfig,
    subsets: Mapping[str, NDArray[np.bool_]],
) -> dict[str, dict[str, float]]:
    """Compute HR, NDCG and MRR by history length, by the target's train events, and on the named subsets of users.

    Args:
        evaluation: Of `cases`.
        cases: The evaluated cases.
        split: The split of the cases.
        config: The list lengths.
        subsets: Subset name → mask (n_users,).

    Returns:
        Slice name → metrics; `cases` is the number of cases in the slice.
    """
    popularity = np.bincount(split.train.values, minlength=len(split.item_index) + 1)
    masks = _bins("history", cases.histories.lengths, _LENGTH_EDGES)
    masks |= _bins("popularity", popularity[cases.targets], _POPULARITY_EDGES)
    masks |= {f"subset {name}": flags[cases.users] for name, flags in subsets.items()}
    return {
        name: {"cases": float(mask.sum()), **mean_metrics(evaluation.ranks_U[mask], config.k)}
        for name, mask in masks.items()
    }


def _bins(name: str, values: IntArray, edges: tuple[int, ...]) -> dict[str, NDArray[np.bool_]]:
    """Masks of `name ≤ 5`, `name 6–10`, …, `name > 100`."""
    bins: dict[str, NDArray[np.bool_]] = {f"{name} ≤ {edges[0]}": values <= edges[0]}
    for low, high in pairwise(edges):
        bins[f"{name} {low + 1}–{high}"] = (values > low) & (values <= high)
    bins[f"{name} > {edges[-1]}"] = values > edges[-1]
    return bins


def tabulate_ranks(
    evaluation: Evaluation, cases: Cases, split: Split, subsets: Mapping[str, NDArray[np.bool_]] | None = None
) -> pl.DataFrame:
    """Make the table from which `retort compare` pairs two runs and experiments cut slices; a row for each case.

    Args:
        evaluation: Of `cases`.
        cases: The evaluated cases.
        split: The split of the cases.
        subsets: Subset name → mask (n_users,); each is a column.

    Returns:
        user_id, rank, history_length, train_length (train events of the user), target_popularity (train events of the
        target) and the subsets.
    """
    return pl.DataFrame(
        {
            "user_id": [split.user_ids[user] for user in cases.users],
            "rank": evaluation.ranks_U,
            "history_length": cases.histories.lengths,
            "train_length": split.train.lengths[cases.users],
            "target_popularity": train_popularity(split)[cases.targets],
        }
        | {f"subset {name}": flags[cases.users] for name, flags in (subsets or {}).items()}
    )
