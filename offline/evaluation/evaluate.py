"""Scores a student by its exported graph, through the same scorer that serves.

Full ranking over the catalogue; what the user has seen is hidden unless the recipe says otherwise, and both are named
in the result.
"""

# Shapes: U cases, K list length

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

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
    """What is measured. The first of `k` beside NDCG is what runs are compared by."""

    k: tuple[int, ...] = Field((10, 5, 20), description="lengths of the list; the first is what runs are compared by")
    hide_seen: bool = Field(True, description="items of the history are not recommended again")
    last_items: int | None = Field(None, ge=1, description="the student reads so many latest items; unset: all")
    subsets: tuple[str, ...] = Field((), description="boolean columns of the users table; each is reported too")

    def read(self, histories: list[IntArray]) -> list[IntArray]:
        """What the student reads of each history."""
        return [history[-self.last_items :] for history in histories] if self.last_items else histories


class Ranker(Protocol):
    """Anything that ranks the catalogue for histories: the graph, a popularity list, a server."""

    def top_k(self, histories: list[IntArray], k: int, hidden: list[IntArray], users: IntArray) -> IntArray:
        """(B, K) item indexes, best first, PAD where fewer could be given."""


@dataclass(frozen=True)
class GraphRanker:
    """The exported graph. `user_ids_known` says whether it wants to know the user."""

    scorer: Scorer

    def top_k(self, histories: list[IntArray], k: int, hidden: list[IntArray], users: IntArray) -> IntArray:
        ranked: Ranked = self.scorer.top_k(histories, k, hidden=hidden, users=users + 1)
        return ranked.items_BK


@dataclass(frozen=True)
class PopularityRanker:
    """The same list for everybody, less what each has seen. The floor under every student."""

    popularity: NDArray[np.int64]

    def top_k(self, histories: list[IntArray], k: int, hidden: list[IntArray], users: IntArray) -> IntArray:
        order = np.argsort(-self.popularity[1:], kind="stable") + 1
        lists = np.full((len(histories), k), PAD, dtype=np.int64)
        for row, seen in zip(lists, hidden, strict=True):
            # the best k of what is left stand among the first k + |seen|
            front = order[: k + len(seen)]
            left = front[~np.isin(front, seen)][:k]
            row[: len(left)] = left
        return lists


@dataclass(frozen=True)
class Evaluation:
    """One ranker on one set of cases: items (U, K), ranks (U,) of the targets (0: not in the list)."""

    items_UK: IntArray
    ranks_U: IntArray


def evaluate(ranker: Ranker, cases: Cases, config: EvaluationConfig, progress: Progress, what: str) -> Evaluation:
    """Ask every case once."""
    k = max(config.k)
    items_UK = np.full((len(cases), k), PAD, dtype=np.int64)
    # like lengths together: less padding
    order = np.argsort(cases.histories.lengths, kind="stable")
    groups = [order[first : first + _CASES_PER_BATCH] for first in range(0, len(order), _CASES_PER_BATCH)]
    for rows in track(groups, what, progress):
        histories = [cases.histories[int(row)] for row in rows]
        hidden = histories if config.hide_seen else [np.empty(0, np.int64)] * len(rows)
        # what is seen stays hidden, even where only its end is read
        items_UK[rows] = ranker.top_k(config.read(histories), k, hidden, cases.users[rows])
    return Evaluation(items_UK, metrics.ranks_in_lists(items_UK, cases.targets))


def summarise(evaluation: Evaluation, config: EvaluationConfig, n_items: int) -> dict[str, float]:
    """`{"hr@10": …, "ndcg@10": …, "mrr@10": …, "coverage@10": …, …}` over all cases."""
    summary = means(evaluation.ranks_U, config.k)
    for k in config.k:
        summary[f"coverage@{k}"] = metrics.coverage(evaluation.items_UK, k, n_items)
    return summary


def means(ranks_U: IntArray, ks: tuple[int, ...]) -> dict[str, float]:
    """HR, NDCG and MRR at each k; empty where there is no case."""
    if not len(ranks_U):
        return {}
    summary: dict[str, float] = {}
    for k in ks:
        summary[f"hr@{k}"] = float(metrics.hit_rate(ranks_U, k).mean())
        summary[f"ndcg@{k}"] = float(metrics.ndcg(ranks_U, k).mean())
        summary[f"mrr@{k}"] = float(metrics.mrr(ranks_U, k).mean())
    return summary


def slices(
    evaluation: Evaluation,
    cases: Cases,
    split: Split,
    config: EvaluationConfig,
    subsets: Mapping[str, NDArray[np.bool_]],
) -> dict[str, dict[str, float]]:
    """The same metrics by history length, by the target's train count, and on the named subsets of users.

    subsets: name → (n_users,) bool. Each slice also says how many cases it has (`cases`).
    """
    popularity = np.bincount(split.train.values, minlength=len(split.item_index) + 1)
    masks = _bins("history", cases.histories.lengths, _LENGTH_EDGES)
    masks |= _bins("popularity", popularity[cases.targets], _POPULARITY_EDGES)
    masks |= {f"subset {name}": flags[cases.users] for name, flags in subsets.items()}
    return {
        name: {"cases": float(mask.sum()), **means(evaluation.ranks_U[mask], config.k)} for name, mask in masks.items()
    }


def _bins(name: str, values: IntArray, edges: tuple[int, ...]) -> dict[str, NDArray[np.bool_]]:
    """`name ≤ 5`, `name 6–10`, …, `name > 100`."""
    bins: dict[str, NDArray[np.bool_]] = {f"{name} ≤ {edges[0]}": values <= edges[0]}
    for low, high in pairwise(edges):
        bins[f"{name} {low + 1}–{high}"] = (values > low) & (values <= high)
    bins[f"{name} > {edges[-1]}"] = values > edges[-1]
    return bins


def per_user(
    evaluation: Evaluation, cases: Cases, split: Split, subsets: Mapping[str, NDArray[np.bool_]] | None = None
) -> pl.DataFrame:
    """One row a case: user_id, rank; what `retort compare` pairs two runs by, and what slices are cut by.

    target_popularity: the target's train events. train_length: the user's. subsets: name → (n_users,) bool.
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
