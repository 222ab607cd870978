"""Map of items: a place in two dimensions for each item of a student, and its events over time.

Both are files of the bundle that only people look at; a bundle without them serves as well.

The layout follows UMAP (McInnes et al., 2018, arXiv 1802.03426): near neighbours attract each other, random pairs repel
each other, and the start is a projection on the two main components. Instead of single random edges, all items move at
once by the mean of their forces, which needs no compilation and takes seconds. Items beyond the most popular ones are
placed among their nearest ones of these.

Shapes: N items, D width of a vector, K neighbours.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retort.offline.data.event_arrays import event_arrays
from retort.offline.data.interactions import Interactions
from retort.offline.data.split import Split
from retort.offline.data.tables import Loaded
from retort.offline.embeddings.vectors import normalize_rows
from retort.shared.model.bundle import Bundle
from retort.shared.model.bundle_files import ITEM_MAP, TRENDS, read_vectors

Float = NDArray[np.float32]
MAX_LAID_OUT = 6000
MAX_ANCHORS = 2000
TREND_SPANS = 24
MAX_TREND_EVENTS = 50_000_000
_EPOCHS = 200
_NEIGHBOURS = 10
_REPELLED = 12
_REPULSION = 12.0
_ROWS_AT_ONCE = 2048
# Constants of UMAP's curve 1 / (1 + a d^2b) for a least distance of 0.1.
_A, _B = 1.577, 0.895
_TOP = np.iinfo(np.uint16).max


def write_map(folder: Path, loaded: Loaded, split: Split) -> None:
    """Write the map of the items and their events over time to the folder of a bundle that is sealed next."""
    write_places(folder, len(split.item_index))
    if loaded.interactions.clock != "position":  # positions in a history are no times
        write_trends(folder, split, loaded.interactions)


def write_places(folder: Path, n_items: int) -> None:
    """Write the places of the items whose vectors are in the folder; vectors that are not finite have none."""
    vectors = read_vectors(folder)
    if vectors is not None and np.isfinite(vectors[1 : n_items + 1]).all():
        np.save(folder / ITEM_MAP, quantized(item_places(vectors[1 : n_items + 1])), allow_pickle=False)


def write_grown(folder: Path, bundle: Bundle, n_items: int) -> None:
    """Write the map of a bundle to which items are added; they have no train events."""
    write_places(folder, n_items)
    if (trends := bundle.trends) is not None:
        added = np.zeros((n_items - len(trends.counts), trends.counts.shape[1]), trends.counts.dtype)
        _save_trends(folder, np.concatenate([trends.counts, added]), trends.first, trends.last)


def write_trends(folder: Path, split: Split, interactions: Interactions) -> None:
    """Write each item's train events in `TREND_SPANS` equal spans between the first and the last.

    Nothing is written for more than `MAX_TREND_EVENTS` train events or counts, whose arrays would take gigabytes, nor
    for a split of other interactions.
    """
    if max(len(split.train.values), len(split.item_index) * TREND_SPANS) > MAX_TREND_EVENTS:
        return
    events = event_arrays(interactions)
    if events.user_ids != split.user_ids or (split.train.lengths > events.ends - events.starts).any():
        return
    times = events.times[events.in_prefix(events.starts + split.train.lengths)]
    items = split.train.values - 1
    first, last = int(times.min()), int(times.max())
    spans = np.minimum((times - first) * TREND_SPANS // max(last - first, 1), TREND_SPANS - 1)
    counts = np.bincount(items * TREND_SPANS + spans, minlength=len(split.item_index) * TREND_SPANS)
    smallest = np.dtype("u2" if counts.max() <= _TOP else "u4")
    table: NDArray[np.unsignedinteger] = counts.reshape(-1, TREND_SPANS).astype(smallest)
    _save_trends(folder, table, first, last)


def _save_trends(folder: Path, counts: NDArray[np.unsignedinteger], first: int, last: int) -> None:
    np.savez_compressed(folder / TRENDS, counts=counts, span=np.array([first, last]))


def quantized(places_N2: Float) -> NDArray[np.uint16]:
    """Scale places to 0 … 65535 on the longer side, so that a million items take 4 MB."""
    low, high = places_N2.min(axis=0), places_N2.max(axis=0)
    reach = max(float((high - low).max()), 1e-12)
    centred = (places_N2 - (low + high) / 2) / reach + 0.5
    return np.round(np.clip(centred, 0, 1) * _TOP).astype(np.uint16)


def item_places(vectors_ND: Float, *, seed: int = 0) -> Float:
    """Compute a place for each item.

    Args:
        vectors_ND: The most popular items first.

    Returns:
        The places (N, 2); near places mean near vectors by cosine similarity, far ones mean little.
    """
    rows_ND = normalize_rows(vectors_ND[:MAX_LAID_OUT])
    places = _components(rows_ND)
    if len(rows_ND) <= _NEIGHBOURS + 1:
        return places
    places = _lay_out(places, _neighbours(rows_ND), np.random.default_rng(seed))
    if len(rows_ND) == len(vectors_ND):
        return places
    anchors = min(MAX_ANCHORS, len(rows_ND))
    rest = place_among(vectors_ND[len(rows_ND) :], rows_ND[:anchors], places[:anchors])
    return np.concatenate([places, rest])


def _components(rows_ND: Float) -> Float:
    """Project on the two main components, scaled to a spread of 10, from which the layout starts."""
    centred = rows_ND - rows_ND.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    main_D2 = directions[:, ::-1][:, :2]
    main_D2 = main_D2 * np.sign(main_D2[np.abs(main_D2).argmax(axis=0), range(main_D2.shape[1])])
    places = centred @ main_D2
    if places.shape[1] < 2:  # vectors of one dimension
        places = np.pad(places, ((0, 0), (0, 1)))
    scaled: Float = (10 * places / max(float(np.abs(places).max()), 1e-12)).astype(np.float32)
    return scaled


def _neighbours(rows_ND: Float) -> NDArray[np.int64]:
    """Nearest neighbours (N, K) by cosine similarity, without the item itself."""
    found = []
    for first in range(0, len(rows_ND), _ROWS_AT_ONCE):
        part = rows_ND[first : first + _ROWS_AT_ONCE] @ rows_ND.T
        part[np.arange(len(part)), np.arange(first, first + len(part))] = -np.inf
        found.append(np.argpartition(-part, _NEIGHBOURS, axis=1)[:, :_NEIGHBOURS])
    return np.concatenate(found)


def _lay_out(places_N2: Float, neighbours_NK: NDArray[np.int64], random: np.random.Generator) -> Float:
    """Move all items by the mean attraction of their neighbours and the mean repulsion of random items."""
    n_items = len(places_N2)
    sources, targets = np.repeat(np.arange(n_items), _NEIGHBOURS), neighbours_NK.reshape(-1)
    degrees = (_NEIGHBOURS + np.bincount(targets, minlength=n_items))[:, None]
    places = places_N2 + random.normal(0, 1e-3, places_N2.shape).astype(np.float32)
    for epoch in range(_EPOCHS):
        pull = _attraction(places[sources] - places[targets])
        moved = np.stack(
            [
                np.bincount(sources, pull[:, axis], n_items) - np.bincount(targets, pull[:, axis], n_items)
                for axis in range(2)
            ],
            axis=1,
        )
        others = random.integers(n_items, size=(n_items, _REPELLED))
        push = _repulsion(places[:, None] - places[others]).mean(axis=1) * _REPULSION
        step = 1 - epoch / _EPOCHS
        places = places + (step * np.clip(2 * moved / degrees + push, -4, 4)).astype(np.float32)
    return places


def _attraction(difference: Float) -> Float:
    squared = (difference**2).sum(axis=-1, keepdims=True) + 1e-6
    pull: Float = -2 * _A * _B * squared ** (_B - 1) / (1 + _A * squared**_B) * difference
    return np.clip(pull, -4, 4)


def _repulsion(difference: Float) -> Float:
    squared = (difference**2).sum(axis=-1, keepdims=True)
    push: Float = 2 * _B / ((1e-3 + squared) * (1 + _A * squared**_B)) * difference
    return np.clip(push, -4, 4)


def place_among(vectors_ND: Float, anchors_AD: Float, places_A2: Float) -> Float:
    """Place items at the weighted mean of their nearest anchors, which are the most popular items."""
    placed = []
    for start in range(0, len(vectors_ND), _ROWS_AT_ONCE):
        part = normalize_rows(vectors_ND[start : start + _ROWS_AT_ONCE]) @ anchors_AD.T
        nearest = np.argpartition(-part, 3, axis=1)[:, :3]
        weights = np.exp(8 * np.take_along_axis(part, nearest, axis=1))
        weights /= weights.sum(axis=1, keepdims=True)
        placed.append(np.einsum("nk,nkp->np", weights, places_A2[nearest]))
    return np.concatenate(placed).astype(np.float32)
