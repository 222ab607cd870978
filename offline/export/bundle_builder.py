"""Builder of bundles: graph, items, golden requests, card, manifest."""

import shutil
import subprocess
import tempfile
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from retort.offline.data.split import Split, train_popularity
from retort.offline.data.tables import Loaded
from retort.offline.embeddings.vectors import Vectors
from retort.offline.export.item_map import write_map
from retort.offline.export.user_map import write_user_map
from retort.shared.base.errors import BundleError
from retort.shared.base.schema import ITEM_ID, KNOWLEDGE, KNOWLEDGE_AT, KNOWLEDGE_SOURCE, PAD, POPULARITY, TITLE
from retort.shared.model.bundle import (
    CARD,
    GOLDEN,
    ITEM_SCALES,
    ITEM_VECTORS,
    ITEMS,
    MODEL,
    USERS_TEST,
    GoldenRequest,
    export_scorer,
    seal_bundle,
)
from retort.shared.model.item_index import ItemIndex
from retort.shared.model.manifest import Manifest
from retort.shared.model.scoring import Scorer

# `item_regression.py` scales cold items on them too; sixteen histories are too few for that.
_GOLDEN_REQUESTS = 64
_GOLDEN_K = 10


def seal(
    bundles: Path,
    *,
    recipe: dict[str, Any],
    loaded: Loaded,
    split: Split,
    exported: Path,
    metrics: dict[str, Any],
    ranks: pl.DataFrame | None = None,
    knowledge: pl.DataFrame | None = None,
    profiles: tuple[Vectors, Vectors] | None = None,
) -> str:
    """Seal a bundle in the folder `bundles`, and return its id.

    Args:
        bundles: Folder of bundles.
        recipe: The whole recipe, as the bundle records it.
        loaded: Loaded data: item texts and the report.
        split: Split that the student was trained on.
        exported: Folder with the graph and the item vectors.
        metrics: Results of the test.
        ranks: Rank of the target of each test user, from `evaluate.per_user`. They let the promotion gate compare the
            bundle with another one.
        knowledge: item_id, source and written_at of the texts in the items' column of knowledge.
        profiles: Vectors of the users' profiles and of the items' texts, for the map of the users.
    """
    bundles.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".sealing-", dir=bundles))
    try:
        shutil.copy(exported / MODEL, work / MODEL)
        for name in (ITEM_VECTORS, ITEM_SCALES):
            if (exported / name).exists():
                shutil.copy(exported / name, work / name)
        item_table(loaded, split, knowledge).write_parquet(work / ITEMS)
        write_map(work, loaded, split)
        if profiles is not None:
            write_user_map(work, *profiles, split.item_index)
        if ranks is not None:
            hash_users(ranks).write_parquet(work / USERS_TEST)
        max_length = int(recipe["student"]["max_length"])
        scorer = export_scorer(work, n_items=len(split.item_index), max_length=max_length)
        golden = [request.model_dump_json() for request in golden_requests(scorer, split)]
        (work / GOLDEN).write_text("\n".join(golden) + "\n", encoding="utf-8")
        manifest = Manifest(
            name=recipe["name"],
            student=recipe["student"]["name"],
            max_length=max_length,
            n_items=len(split.item_index),
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            git_commit=git_commit(),
            recipe=recipe,
            data_hash=loaded.report.data_hash,
            protocol=split.protocol,
            metrics=metrics,
        )
        (work / CARD).write_text(card(manifest), encoding="utf-8")
        work.chmod(0o755)  # mkdtemp's 0700 would exclude a server that runs as another user
        return seal_bundle(work, bundles, manifest).name
    finally:
        shutil.rmtree(work, ignore_errors=True)


def item_table(loaded: Loaded, split: Split, knowledge: pl.DataFrame | None = None) -> pl.DataFrame:
    """Return a row for each item, in the order of the index: item_id, popularity, title, attributes, knowledge."""
    order = pl.DataFrame({ITEM_ID: list(split.item_index.ids), POPULARITY: train_popularity(split)[1:]})
    texts = [KNOWLEDGE] if loaded.items.knowledge.count() else []
    known = loaded.items.frame.select(ITEM_ID, TITLE, *loaded.items.attributes, *texts)
    if knowledge is not None:
        known = with_sources(known, knowledge)
    return order.join(known, on=ITEM_ID, how="left", maintain_order="left")


def with_sources(items: pl.DataFrame, knowledge: pl.DataFrame) -> pl.DataFrame:
    """Add the columns that say which model or file each item's knowledge is from, and when it was written."""
    named = knowledge.select(
        ITEM_ID, pl.col("source").alias(KNOWLEDGE_SOURCE), pl.col("written_at").alias(KNOWLEDGE_AT)
    )
    return items.join(named, on=ITEM_ID, how="left", maintain_order="left")


def hash_users(ranks: pl.DataFrame) -> pl.DataFrame:
    """Replace user ids by hashes: two bundles can be paired by user, and no user id is in a bundle."""
    hashes = [blake2b(user_id.encode(), digest_size=12).hexdigest() for user_id in ranks["user_id"]]
    return pl.DataFrame({"user": hashes, "rank": ranks["rank"]}).sort("user", maintain_order=True)


def golden_requests(scorer: Scorer, split: Split) -> list[GoldenRequest]:
    """Return real test histories of all lengths with the recommendations of the graph, which serving replays."""
    by_length = np.argsort(split.test.histories.lengths, kind="stable")
    places = np.unique(np.linspace(0, len(by_length) - 1, num=min(_GOLDEN_REQUESTS, len(by_length))).astype(int))
    histories = [split.test.histories[int(by_length[place])] for place in places]
    return [golden_request(scorer, split.item_index, history, _GOLDEN_K) for history in histories]


def golden_request(
    scorer: Scorer,
    index: ItemIndex,
    history: NDArray[np.int64],
    k: int,
    hidden: NDArray[np.int64] | None = None,
) -> GoldenRequest:
    """Return a request with the recommendations of the graph.

    Args:
        scorer: Scorer of the graph.
        index: The items.
        history: Item indexes, oldest first.
        k: Number of items.
        hidden: Item indexes that are excluded; None: the history.

    Raises:
        BundleError: A score is NaN or infinite, or an excluded item is recommended.
    """
    ranked = scorer.top_k([history], k, hidden=None if hidden is None else [hidden])
    items, scores = ranked.row(0)
    excluded = np.unique(np.append(history if hidden is None else hidden, PAD))
    n_expected = min(k, scorer.n_items + 1 - len(excluded))  # a score of −inf is counted as no item
    if len(items) != n_expected or not np.isfinite(scores).all() or np.isin(items, excluded).any():
        raise BundleError(
            "this student cannot be sealed: its graph returns scores that are NaN or infinite; train it again with a "
            "lower [training] learning_rate."
        )
    return GoldenRequest(
        history=index_ids(index, history),
        k=k,
        items=index_ids(index, items),
        scores=[float(score) for score in scores],
    )


def index_ids(index: ItemIndex, items: NDArray[np.int64]) -> list[str]:
    """Return the item ids of item indexes."""
    return [index.id(int(item)) for item in items]


def git_commit() -> str:
    """Return the commit of the running code, with `+changes` if files are edited; `unknown` outside a checkout."""
    here = Path(__file__).parent
    try:
        head = _git(here, "rev-parse", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (FileNotFoundError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}+changes" if changed else head


def _git(here: Path, *args: str) -> str:
    done = subprocess.run(["git", "-C", str(here), *args], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def card(manifest: Manifest) -> str:
    """Return the bundle's README."""
    test = manifest.metrics["test"]
    seen = "hidden" if manifest.metrics["seen_hidden"] else "shown"
    rows = "\n".join(f"| {name} | {value:.4f} |" for name, value in test.items())
    return f"""# {manifest.name}

A {manifest.student} student over {manifest.n_items:,} items.

Test, protocol "{manifest.protocol}", full ranking, seen items {seen},
{manifest.metrics["cases"]:,} cases ({manifest.metrics["cold_targets"]} of them with a target that
train does not contain):

| metric | value |
|---|---|
{rows}

Code `{manifest.git_commit}`, data `{manifest.data_hash}`. The whole recipe is in `manifest.json`:

```json
{orjson.dumps(manifest.recipe["student"], option=orjson.OPT_INDENT_2).decode()}
```
"""
