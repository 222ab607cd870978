"""Facts of a run report, from the files that the steps left; nothing is trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import polars as pl

from retort.offline.common.progress import Silent
from retort.offline.data.split import train_popularity
from retort.offline.data.split_store import load_split
from retort.offline.data.tables import Loaded
from retort.offline.evaluation.compare import compare
from retort.offline.evaluation.evaluate import PopularityRanker, evaluate, tabulate_ranks
from retort.offline.export.batch_recommender import BatchRecommender
from retort.offline.pipeline.context import TRAINING_FILE, RunContext, evaluated_split_step, load_tables
from retort.offline.pipeline.dag import Pipeline
from retort.offline.pipeline.outcome import Outcome, read_outcome
from retort.offline.run_report.charts import Interval, Series
from retort.shared.model.bundle import Bundle, open_bundle

METRIC = "ndcg@10"
_DAY_MS = 86_400_000
_MAX_POINTS = 200
_NO_END = (1 << 31) - 1
_LENGTHS, _POPULARITIES = (-1, 5, 10, 30, 100, _NO_END), (-1, 3, 10, 30, 100, _NO_END)
_LEAST_CASES = 20
_MAP_ITEMS, _MAP_GROUPS = 3_000, 6
_RESAMPLES = 2000


@dataclass(frozen=True)
class ArmFacts:
    """A trained student.

    Attributes:
        name: Its name.
        outcome: Its metrics and its rank of each test case.
        bundle: Its bundle.
        validation: NDCG@10 by epoch.
        loss: Loss by epoch.
        steps: Step → seconds and peak MiB.
    """

    name: str
    outcome: Outcome
    bundle: Bundle
    validation: Series
    loss: Series
    steps: dict[str, tuple[float, float | None]]

    @property
    def ranks(self) -> pl.DataFrame:
        """The rank of each test case."""
        return pl.read_parquet(self.outcome.per_user)


@dataclass(frozen=True)
class Facts:
    """What a report shows of a run. arms: the plain student first; popular: the rank of each case by popularity."""

    recipe: str
    protocol: str
    tables: Loaded
    arms: list[ArmFacts]
    popular: pl.DataFrame


def collect_facts(pipelines: dict[str, Pipeline[RunContext]]) -> Facts:
    """Read the facts of finished pipelines.

    Args:
        pipelines: Name of the arm → its pipeline; the baseline first.
    """
    arms = [_arm(name, pipeline) for name, pipeline in pipelines.items()]
    first = next(iter(pipelines.values()))
    last = list(pipelines.values())[-1]
    recipe = last.context.recipe
    return Facts(recipe.name, recipe.protocol, load_tables(first), arms, _popular_ranks(first))


def _popular_ranks(pipeline: Pipeline[RunContext]) -> pl.DataFrame:
    """Rank the test cases by popularity, which needs no model, so that popularity has an interval too."""
    split = load_split(pipeline.ensure_path(evaluated_split_step(pipeline)))
    ranker = PopularityRanker(train_popularity(split))
    ranked = evaluate(ranker, split.test, pipeline.context.recipe.evaluation, Silent(), "popularity")
    return tabulate_ranks(ranked, split.test, split)


def _arm(name: str, pipeline: Pipeline[RunContext]) -> ArmFacts:
    outcome = read_outcome(pipeline)
    steps = {}
    for step in pipeline.steps.values():
        if step.kept:
            finished = pipeline.ensure(step.name)
            steps[step.name] = (finished.seconds, finished.peak_mib)
    log: list[dict[str, Any]] = []
    if "train" in pipeline.steps:
        log = orjson.loads((pipeline.ensure_path("train") / TRAINING_FILE).read_bytes())["log"]
    validation = [(entry["epoch"], entry["ndcg"]) for entry in log if entry.get("ndcg") is not None]
    loss = Series(name, [(entry["epoch"], entry["loss"]) for entry in log])
    return ArmFacts(name, outcome, open_bundle(outcome.bundle), Series(name, validation), loss, steps)


def events_by_day(tables: Loaded) -> tuple[Series, tuple[str, str]] | None:
    """Return the events of each day and the names of the first and last day; None where times are positions."""
    if tables.interactions.clock == "position":
        return None
    days = tables.interactions.frame.select(day=pl.col("timestamp") // _DAY_MS).group_by("day").len().sort("day")
    every = max(1, -(-days.height // _MAX_POINTS))
    grouped = days.group_by(pl.int_range(pl.len()) // every, maintain_order=True).agg(
        pl.col("day").first(), pl.col("len").mean()
    )
    points = [(float(day), float(count)) for _, day, count in grouped.iter_rows()]
    names = tuple(datetime.fromtimestamp(days["day"][place] * 86_400, UTC).strftime("%Y-%m-%d") for place in (0, -1))
    return Series("events", points), (names[0], names[1])


def long_tail(tables: Loaded) -> tuple[Series, float]:
    """Return the share of events by the share of items, most popular first, and the share of the first tenth."""
    counts = np.sort(tables.interactions.frame["item_id"].value_counts()["count"].to_numpy())[::-1]
    shares = np.cumsum(counts) / counts.sum()
    places = np.unique(np.linspace(0, len(counts) - 1, _MAX_POINTS).astype(int))
    points = [(0.0, 0.0), *((100.0 * (place + 1) / len(counts), 100.0 * float(shares[place])) for place in places)]
    return Series("events", points), float(shares[max(0, -(-len(counts) // 10) - 1)])


def users_by_length(tables: Loaded) -> list[tuple[str, float]]:
    """Return the number of users by their number of events."""
    lengths = tables.interactions.frame["user_id"].value_counts()["count"]
    edges = (0, 2, 5, 10, 20, 50, 100, 200, 1000, _NO_END)
    return [(_name(low, high), float(((lengths > low) & (lengths <= high)).sum())) for low, high in pairwise(edges)]


def _name(low: int, high: int) -> str:
    """Name the whole numbers above `low` up to `high`."""
    if high == _NO_END:
        return f"> {_short(low)}"
    return f"{low + 1}" if high == low + 1 else f"{low + 1}–{_short(high)}"


def _short(number: int) -> str:
    return f"{number // 1000}k" if number >= 1000 else str(number)


def gains(baseline: pl.DataFrame, arms: Sequence[ArmFacts]) -> list[Interval]:
    """Return the paired gain of each arm over the same cases of a baseline."""
    rows = (_interval(arm.name, baseline, arm.ranks) for arm in arms)
    return [row for row in rows if row is not None]


def gains_by(plain: pl.DataFrame, best: pl.DataFrame, column: str) -> list[Interval]:
    """Return the gain of an arm over another one by `history_length` or `target_popularity`.

    Args:
        plain: A row for each test case: its rank, history length and target popularity.
        best: The same cases of the other arm.
        column: What the cases are grouped by.
    """
    edges = _LENGTHS if column == "history_length" else _POPULARITIES
    rows = []
    for low, high in pairwise(edges):
        within = (pl.col(column) > low) & (pl.col(column) <= high)
        row = _interval(_name(low, high), plain.filter(within), best.filter(within))
        rows += [row] if row else []
    return rows


def _interval(name: str, plain: pl.DataFrame, other: pl.DataFrame) -> Interval | None:
    """The paired difference in per cent; None where there are too few cases, or the baseline has no hit."""
    if plain.height < _LEAST_CASES:
        return None
    found = compare([plain], [other], METRIC, resamples=_RESAMPLES)
    if not found.a:
        return None
    value, low, high = (100 * one / found.a for one in (found.difference, found.low, found.high))
    return Interval(name, value, low, high, note=f"{plain.height:,}")


def item_map(facts: Facts) -> tuple[list[tuple[float, float, int, str]], list[str], str]:
    """Return the most popular items in two directions of their vectors, the groups of an attribute, and its name."""
    bundle = facts.arms[-1].bundle
    if bundle.item_vectors is None:
        return [], [], ""
    order = np.argsort(-bundle.popularity[1:], kind="stable")[:_MAP_ITEMS]
    vectors_KD = bundle.item_vectors[order + 1].astype(np.float64)
    vectors_KD = vectors_KD / np.maximum(np.linalg.norm(vectors_KD, axis=1, keepdims=True), 1e-12)
    centred_KD = vectors_KD - vectors_KD.mean(0)
    _, _, directions = np.linalg.svd(centred_KD, full_matrices=False)
    places_K2 = centred_KD @ directions[:2].T
    items = pl.DataFrame(bundle.items)[order.tolist()]
    attribute, values = _grouping(items)
    named = [value for value in dict.fromkeys(values) if value]
    groups = sorted(named, key=lambda value: -values.count(value))[:_MAP_GROUPS]
    titles = items["title"].to_list() if "title" in items.columns else items["item_id"].to_list()
    points = [
        (float(x), float(y), groups.index(value) if value in groups else len(groups), str(title))
        for (x, y), value, title in zip(places_K2, values, titles, strict=True)
    ]
    return points, groups, attribute


def _grouping(items: pl.DataFrame) -> tuple[str, list[str]]:
    """Return the attribute whose commonest values cover the most items, and its value for each item."""
    best, best_share, best_values = "", 0.0, [""] * items.height
    for name in items.columns:
        if name in ("item_id", "title", "text", "popularity", "knowledge"):
            continue
        column = items[name]
        values = column.list.first() if isinstance(column.dtype, pl.List) else column
        if values.dtype not in (pl.String, pl.Boolean):
            continue
        texts = values.cast(pl.String).fill_null("")
        counts = texts.filter(texts != "").value_counts(sort=True)["count"]
        share = float(counts.head(_MAP_GROUPS).sum()) / max(1, items.height)
        if counts.len() > 1 and share > best_share:
            best, best_share, best_values = name, share, texts.to_list()
    return best, best_values


def sample_users(facts: Facts, n_users: int = 5, k: int = 5) -> list[dict[str, Any]]:
    """Return users with histories of different lengths: newest items, and the lists of the first and the last arm."""
    frame = facts.tables.interactions.frame
    lengths = frame["user_id"].value_counts().filter(pl.col("count") >= 3).sort("count", "user_id")
    if not lengths.height:
        return []
    places = np.unique(np.linspace(0, lengths.height - 1, n_users + 2).astype(int)[1:-1])
    user_ids = [str(lengths["user_id"][int(place)]) for place in places]
    of_users = frame.filter(pl.col("user_id").is_in(user_ids)).group_by("user_id").agg(pl.col("item_id"))
    histories = dict(of_users.iter_rows())
    titles = _titles(facts.arms[0].bundle)
    lists = [_lists(arm.bundle, user_ids, histories, k) for arm in (facts.arms[0], facts.arms[-1])]
    return [
        {
            "user": user_id,
            "history": [titles.get(item, item) for item in histories[user_id][-5:]],
            "before": [titles.get(item, item) for item in lists[0][user_id]],
            "after": [titles.get(item, item) for item in lists[1][user_id]],
        }
        for user_id in user_ids
    ]


def _lists(bundle: Bundle, user_ids: Sequence[str], histories: dict[str, list[str]], k: int) -> dict[str, list[str]]:
    table = BatchRecommender(bundle).table(list(user_ids), [histories[user_id] for user_id in user_ids], k)
    rows = pl.DataFrame(table).group_by("user_id", maintain_order=True).agg(pl.col("item_id"))
    return dict(rows.iter_rows())


def _titles(bundle: Bundle) -> dict[str, str]:
    items = pl.DataFrame(bundle.items)
    if "title" not in items.columns:
        return {}
    return {item: title for item, title in items.select("item_id", "title").iter_rows() if title}
