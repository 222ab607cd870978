"""What texts are worth to items that nobody has chosen yet.

A share of the items is kept out of all training; the map of `retort items add` then puts them into the trained student,
and users who took one of them next are asked. Word counts are the baseline: what a language model adds to them is what
it knows beyond the words. Other items' texts and noise are the controls.
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
from retort.offline.data.interactions import Interactions
from retort.offline.data.load import load_data
from retort.offline.data.ragged import Ragged
from retort.offline.data.split import Cases, Split, make_split
from retort.offline.data.tables import Loaded
from retort.offline.embeddings.encoder import concatenate_normalized, encode_items
from retort.offline.embeddings.tfidf import TFIDF
from retort.offline.embeddings.vectors import Vectors
from retort.offline.evaluation.compare import compare
from retort.offline.evaluation.evaluate import EvaluationConfig, GraphRanker, Ranker, evaluate, mean_metrics
from retort.offline.export.item_regression import grown_scorer, new_rows
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import make_context
from retort.offline.pipeline.outcome import run_pipeline
from retort.offline.recipes.recipe import Recipe, parse_recipe
from retort.offline.teachers.controls import derangement, gaussian
from retort.shared.base.errors import DataError, RecipeError
from retort.shared.base.schema import ITEM_ID, USER_ID
from retort.shared.model.bundle import Bundle, open_bundle
from retort.shared.model.item_index import ItemIndex
from retort.shared.model.scoring import Scorer
from retort.shared.model.sequences import IntArray

WORDS, OTHERS = "word counts", "other items' texts"
METRIC = "ndcg@10"
_EVENTS, _ITEMS, _USERS = "interactions.parquet", "items.parquet", "users.parquet"
_RESAMPLES = 2000
_BASES = (WORDS, f"{OTHERS} + {WORDS}")


@dataclass(frozen=True)
class World:
    """The data as they are, the items that training must not see, the others' events, and a folder that holds these."""

    loaded: Loaded
    hidden: tuple[str, ...]
    seen: Interactions
    folder: Path

    def recipe(self, recipe: Recipe, seed: int) -> Recipe:
        """The same training on what is left."""
        order = "timestamp" if self.seen.clock == "time" else "position"
        options = {"interactions": _EVENTS, "items": _ITEMS, order: "timestamp"}
        options |= {"time_unit": "ms"} if order == "timestamp" else {}
        options |= {"users": _USERS} if self.loaded.users is not None else {}
        data = {"source": "table", "options": options, "text_columns": ["text"], "repeats": "keep"}
        raw = {**recipe.raw, "data": data, "training": {**recipe.raw.get("training", {}), "seed": seed}}
        return parse_recipe(recipe.name, raw)


def hide_items(recipe: Recipe, data: Path | None, share: float, out: Path, progress: Progress) -> World:
    """Draw a share of the items, and write the events of the others into OUT/cold_items."""
    loaded = load_data(recipe.data, data, progress)
    item_ids = loaded.interactions.frame[ITEM_ID].unique().sort()
    n_hidden = round(share * len(item_ids))
    if not 0 < n_hidden < len(item_ids):
        raise DataError(f"a share of {share:g} of {len(item_ids)} items hides {n_hidden}; choose another share.")
    hidden = item_ids.gather(np.random.default_rng(0).choice(len(item_ids), n_hidden, replace=False)).to_list()
    seen = loaded.interactions.frame.filter(~pl.col(ITEM_ID).is_in(hidden))
    folder = out / "cold_items" / f"{recipe.name}-{share:g}"
    folder.mkdir(parents=True, exist_ok=True)
    seen.write_parquet(folder / _EVENTS)
    loaded.items.frame.write_parquet(folder / _ITEMS)
    if loaded.users is not None:
        loaded.users.write_parquet(folder / _USERS)
    return World(loaded, tuple(hidden), Interactions(seen, loaded.interactions.clock), folder)


def cold_cases(world: World, split: Split, grown: ItemIndex) -> Cases:
    """One case a user: the last event on a hidden item among those that came after all that the student learnt of the
    user. The history is what the student knows of the events before it."""
    known = pl.col(ITEM_ID).is_in(list(split.item_index.ids))
    cold = pl.col(ITEM_ID).is_in(list(world.hidden))
    trained = pl.DataFrame({USER_ID: list(split.user_ids), "n_train": split.train.lengths})
    events = (
        world.loaded.interactions.frame.join(trained, on=USER_ID, maintain_order="left")
        .with_columns(before=(~cold).cast(pl.Int64).cum_sum().over(USER_ID), known=known, cold=cold)
        .with_columns(asked=pl.col("cold") & (pl.col("before") >= pl.col("n_train")))
    )
    users, histories, targets = [], [], []
    user_index = {user_id: user for user, user_id in enumerate(split.user_ids)}
    for (user_id,), rows in events.group_by([USER_ID], maintain_order=True):
        asked = rows["asked"].arg_true()
        if not len(asked):
            continue
        history = rows[: asked[-1]].filter("known")[ITEM_ID].to_list()
        if history:
            users.append(user_index[str(user_id)])
            histories.append(grown.indexes(history))
            targets.append(grown.index(rows[ITEM_ID][asked[-1]]) or 0)
    if not users:
        raise DataError("nobody took a hidden item after what the student learnt; hide a greater share of the items.")
    return Cases(np.array(users), Ragged.of(histories), np.array(targets))


@dataclass(frozen=True)
class NewOnly:
    """The same student where the shop shows new items alone."""

    scorer: Scorer
    n_known: int

    def top_k(self, histories: list[IntArray], k: int, hidden: list[IntArray], users: IntArray) -> IntArray:
        known = np.arange(1, self.n_known + 1)
        return self.scorer.top_k(histories, k, hidden=[known] * len(histories), users=users + 1).items_BK


@dataclass(frozen=True)
class Asked:
    """One student with new items: metrics by name, and the rank of each user's new item among the new ones."""

    metrics: Mapping[str, float]
    ranks: pl.DataFrame


def ask(bundle: Bundle, vectors: Vectors, cases: Cases, split: Split, config: EvaluationConfig, say: Progress) -> Asked:
    """Add the hidden items by their vectors, and ask for them among all items, and among the new ones."""
    new = new_rows(bundle, vectors, np.array([item_id in bundle.item_index for item_id in vectors.ids]))
    n_known, scorer = bundle.manifest.n_items, grown_scorer(bundle, new.rows_MD)

    def asked(ranker: Ranker, about: Cases, what: str) -> Any:
        return evaluate(ranker, about, config, say, what)

    of_all, of_new = asked(GraphRanker(scorer), cases, "new of all"), asked(NewOnly(scorer, n_known), cases, "new")
    of_known = asked(GraphRanker(scorer), split.test, "known")
    said = {"cases": float(len(cases)), "fit": new.fit}
    for what, one in (("all", of_all), ("new", of_new), ("known", of_known)):
        said |= {f"{name} of {what}": value for name, value in mean_metrics(one.ranks_U, (10,)).items()}
    said[f"{METRIC} of known, alone"] = float(bundle.manifest.metrics["test"][METRIC])
    said["places"] = float((of_known.items_UK[:, :10] > n_known).mean())
    return Asked(said, pl.DataFrame({USER_ID: [split.user_ids[user] for user in cases.users], "rank": of_new.ranks_U}))


def arms_of(vectors: Mapping[str, Vectors], seed: int) -> dict[str, Vectors]:
    """What the new items are placed by: each encoder, each beside word counts, and controls of the first."""
    words = vectors[WORDS]
    read = {name: one for name, one in vectors.items() if name != WORDS}
    beside = {f"{name} + {WORDS}": _beside(one, words) for name, one in read.items()}
    first = next(iter(read.values()))
    there = np.ones(len(first.ids), dtype=bool)
    others = Vectors(first.ids, first.vectors[derangement(there, seed)])
    controls = {
        _BASES[1]: _beside(others, words),
        OTHERS: others,
        "noise": Vectors(first.ids, gaussian(first.vectors, there, seed)),
    }
    return {**vectors, **beside, **controls}


def _beside(one: Vectors, other: Vectors) -> Vectors:
    """As `[encoder] model = "one + other"` has it."""
    place = {item_id: row for row, item_id in enumerate(other.ids)}
    rows = [place[item_id] for item_id in one.ids]
    return Vectors(one.ids, concatenate_normalized([one.vectors, other.vectors[rows]]))


@dataclass(frozen=True)
class Study:
    """What is to be tried: a recipe's student, so many items hidden, placed by these encoders."""

    recipe: Recipe
    data: Path | None
    out: Path
    encoders: Sequence[str]
    share: float
    seeds: Sequence[int]
    engine: Engine
    progress: Progress

    def rows(self) -> list[dict[str, Any]]:
        """One row an arm: means over seeds; among the new items, the differences to word counts alone, and to word
        counts beside other items' texts, which are as wide as an encoder's vectors beside them.
        """
        if not set(self.encoders) - {TFIDF}:
            raise RecipeError(f"{WORDS} are there in any case; name a text encoder to set beside them with --encoder.")
        world = hide_items(self.recipe, self.data, self.share, self.out, self.progress)
        split = make_split(world.seen, self.recipe.split, self.recipe.protocol)
        vectors = {WORDS: self._encoded(world, TFIDF)}
        vectors |= {one: self._encoded(world, one) for one in self.encoders if one != TFIDF}
        # every encoder reads the same items, in the same order: the index is that of each grown student
        new = [item_id for item_id in vectors[WORDS].ids if item_id not in split.item_index]
        cases = cold_cases(world, split, ItemIndex([*split.item_index.ids, *new]))
        found: dict[str, list[Asked]] = {}
        for seed in self.seeds:
            bundle = self._trained(world, seed)
            for name, one in arms_of(vectors, seed).items():
                self.progress.say(f"── new items by {name}, seed {seed}")
                found.setdefault(name, []).append(ask(bundle, one, cases, split, self.recipe.evaluation, self.progress))
        return [_row(name, found) for name in found]

    def _encoded(self, world: World, model: str) -> Vectors:
        config = self.recipe.encoder.model_copy(update={"model": model})
        # beside the world's folder: what lies in it is raw data, and known by its bytes
        return encode_items(world.loaded.items, config, self.progress, world.folder.parent / "vectors.sqlite")

    def _trained(self, world: World, seed: int) -> Bundle:
        context = make_context(world.recipe(self.recipe, seed), world.folder, self.engine, self.progress)
        return open_bundle(run_pipeline(make_pipeline(context, self.out)).bundle)


def _row(name: str, found: Mapping[str, Sequence[Asked]]) -> dict[str, Any]:
    asked = found[name]
    row: dict[str, Any] = {"new items by": name, "seeds": len(asked)}
    row |= {key: float(np.mean([one.metrics[key] for one in asked])) for key in asked[0].metrics}
    for base in _BASES:
        row |= {f"to {base}, {key}": value for key, value in _difference(found[base], asked, base == name).items()}
    return row


def _difference(base: Sequence[Asked], asked: Sequence[Asked], alike: bool) -> dict[str, float | None]:
    """Among the new items, as a share of the base, with the 95 % interval; nothing for a base beside itself."""
    if alike:
        return dict.fromkeys(("gain", "low", "high", "p"))
    told = compare([one.ranks for one in base], [one.ranks for one in asked], METRIC, resamples=_RESAMPLES)
    whole = told.a or float("nan")
    return {"gain": told.relative, "low": told.low / whole, "high": told.high / whole, "p": told.p}
