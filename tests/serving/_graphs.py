"""A tiny real bundle: a graph with the contract of `shared/model/scoring.py`, sealed with golden requests.

The student adds up the vectors of the history and counts the last item three times, so answers follow events.
"""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from retort.shared.base.schema import PAD
from retort.shared.model.bundle import GOLDEN, ITEM_VECTORS, ITEMS, MODEL, USERS_TEST, seal_bundle
from retort.shared.model.bundle_files import ITEM_MAP, TRENDS
from retort.shared.model.item_index import ItemIndex
from retort.shared.model.manifest import Manifest
from retort.shared.model.scoring import Scorer
from retort.shared.model.user_map import USER_MAP, hash_user

GENRES = ("drama", "comedy", "horror")
MAX_LENGTH = 10


def item_vectors(n_items: int, dim: int = 8, seed: int = 0) -> NDArray[np.float32]:
    """(n_items + 1, dim), the PAD row is zero."""
    vectors = np.random.default_rng(seed).normal(size=(n_items + 1, dim)).astype(np.float32)
    vectors[PAD] = 0
    return vectors


def graph_bytes(vectors: NDArray[np.float32]) -> bytes:
    """items, hidden, bias, k → top_items, top_scores."""
    hide_pad = np.zeros((1, len(vectors)), np.float32)
    hide_pad[0, PAD] = -np.inf
    constants = {
        "table": vectors,
        "table_t": np.ascontiguousarray(vectors.T),
        "hide_pad": hide_pad,
        "last": np.array([-1], np.int64),
        "axis": np.array([1], np.int64),
        "two": np.array(2, np.float32),
        "minus_inf": np.array(-np.inf, np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["table", "items"], ["vectors"]),
        helper.make_node("ReduceSum", ["vectors", "axis"], ["total"], keepdims=0),
        helper.make_node("Gather", ["vectors", "last"], ["last_1"], axis=1),
        helper.make_node("Squeeze", ["last_1", "axis"], ["last_vector"]),
        helper.make_node("Mul", ["last_vector", "two"], ["more_last"]),
        helper.make_node("Add", ["total", "more_last"], ["state"]),
        helper.make_node("MatMul", ["state", "table_t"], ["raw"]),
        helper.make_node("Add", ["raw", "hide_pad"], ["without_pad"]),
        helper.make_node("Add", ["without_pad", "bias"], ["biased"]),
        helper.make_node("Shape", ["hidden"], ["hidden_shape"]),
        helper.make_node("Expand", ["minus_inf", "hidden_shape"], ["updates"]),
        helper.make_node("ScatterElements", ["biased", "hidden", "updates"], ["scores"], axis=1),
        helper.make_node("TopK", ["scores", "k"], ["top_scores", "top_items"], axis=1, sorted=1),
    ]
    integer, real = TensorProto.INT64, TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("items", integer, ["B", "T"]),
            helper.make_tensor_value_info("hidden", integer, ["B", "H"]),
            helper.make_tensor_value_info("bias", real, ["R", "C"]),
            helper.make_tensor_value_info("k", integer, [1]),
        ],
        [
            helper.make_tensor_value_info("top_items", integer, ["B", "K"]),
            helper.make_tensor_value_info("top_scores", real, ["B", "K"]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    payload: bytes = model.SerializeToString()
    return payload


def item_table(n_items: int, seed: int = 0) -> pa.Table:
    """Ids i1 … i<n>; i1 is the most popular; attributes of every kind that a bundle may hold."""
    random = np.random.default_rng(seed)
    numbers = range(1, n_items + 1)
    return pa.table(
        {
            "item_id": [f"i{n}" for n in numbers],
            "popularity": pa.array([10 * (n_items - n) for n in numbers], pa.int64()),
            "title": [f"Title {n}" for n in numbers],
            "genre": [GENRES[n % 3] for n in numbers],
            "tags": [[f"t{n % 2}", f"t{n % 5}"] if n % 7 else None for n in numbers],
            "year": pa.array([1980 + n % 40 for n in numbers], pa.int64()),
            "price": random.uniform(1, 100, n_items).round(2),
            "available": [n % 10 != 0 for n in numbers],
            "expires_at": [datetime(2020 if n % 9 == 0 else 2200, 1, 1, tzinfo=UTC) for n in numbers],
        }
    )


def make_bundle(
    target_dir: Path,
    *,
    n_items: int = 60,
    seed: int = 0,
    name: str = "tiny",
    with_vectors: bool = True,
    ranks: dict[str, int] | None = None,
    data_hash: str = "d" * 64,
    evaluation: dict[str, object] | None = None,
    knowledge: dict[str, str] | None = None,
    retrieval: dict[str, object] | None = None,
    parity: dict[str, object] | None = None,
    places: np.ndarray | None = None,
    trends: tuple[np.ndarray, int, int] | None = None,
    seen: dict[str, object] | None = None,
    user_places: dict[str, tuple[int, int]] | None = None,
    created_at: str = "2026-11-21T00:00:00Z",
    titles: dict[int, str] | None = None,
) -> Path:
    """Seal a bundle and return its directory.

    Args:
        ranks: User (as a hash) → its test rank.
        evaluation: How it was evaluated.
        knowledge: Item id → text of a model.
        retrieval: Report of a two-stage graph.
        parity: Report of item vectors in fewer bits.
        places: Map of the items.
        trends: Counts by item and span of time, and the first and last time in ms.
        seen: Metrics that say how seen items were evaluated.
        user_places: User id → place by profile.
        titles: Number of an item → its title; others have the usual one.
    """
    vectors = item_vectors(n_items, seed=seed)
    graph = graph_bytes(vectors)
    table = item_table(n_items, seed)
    if titles is not None:
        named = [titles.get(number, title) for number, title in enumerate(table.column("title").to_pylist(), start=1)]
        table = table.set_column(table.column_names.index("title"), "title", pa.array(named))
    if knowledge is not None:
        texts = [knowledge.get(item_id) for item_id in table.column("item_id").to_pylist()]
        written = ["2026-11-01T00:00:00+00:00" if text else None for text in texts]
        table = table.append_column("knowledge", pa.array(texts, pa.string()))
        table = table.append_column(
            "knowledge_source", pa.array(["llm-1" if text else None for text in texts], pa.string())
        )
        table = table.append_column("knowledge_at", pa.array(written, pa.string()))
    work = target_dir / f".work-{name}-{seed}"
    work.mkdir(parents=True)
    (work / MODEL).write_bytes(graph)
    pq.write_table(table, work / ITEMS)
    if with_vectors:
        np.save(work / ITEM_VECTORS, vectors)
    if places is not None:
        np.save(work / ITEM_MAP, places)
    if trends is not None:
        np.savez(work / TRENDS, counts=trends[0], span=np.array(trends[1:]))
    if user_places is not None:
        users, order = np.unique(np.array([hash_user(user) for user in user_places], np.uint64), return_index=True)
        np.savez(work / USER_MAP, users=users, places=np.array(list(user_places.values()), np.uint16)[order])
    if ranks is not None:
        pq.write_table(pa.table({"user": list(ranks), "rank": list(ranks.values())}), work / USERS_TEST)
    scorer = Scorer(graph, n_items=n_items, max_length=MAX_LENGTH)
    index = ItemIndex(table.column("item_id").to_pylist())
    lines = [golden(scorer, index, history) for history in (["i1"], ["i2", "i3"], [f"i{n}" for n in range(1, 15)])]
    (work / GOLDEN).write_bytes(b"\n".join(map(orjson.dumps, lines)))
    manifest = Manifest(
        name=name,
        student="tiny",
        max_length=MAX_LENGTH,
        n_items=n_items,
        created_at=created_at,
        git_commit="0" * 40,
        recipe={"seed": seed} | ({"evaluation": evaluation} if evaluation else {}),
        data_hash=data_hash,
        protocol="held",
        metrics={"validation": {"ndcg@10": 0.1}, "test": {"hr@10": 0.2, "ndcg@10": 0.1}}
        | ({"retrieval": retrieval} if retrieval else {})
        | ({"parity": parity} if parity else {})
        | (seen or {}),
    )
    return seal_bundle(work, target_dir, manifest)


def golden(scorer: Scorer, index: ItemIndex, history: list[str], k: int = 5) -> dict[str, object]:
    """One golden request with the answer that the graph gives now."""
    items, scores = scorer.top_k([index.indexes(history)], k).row(0)
    ids = [index.id(int(item)) for item in items]
    return {"history": history, "exclude": [], "k": k, "items": ids, "scores": scores.tolist()}
