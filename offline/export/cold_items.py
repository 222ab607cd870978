"""New items in a sealed bundle without training: from an item's text to a row of the item table.

A ridge regression learns, on the items that the student knows, which table row belongs to which text vector; it is then
asked for the new ones. Its answers are too short, and shorter the less a text says; they keep the square root of their
lengths (all of it was worse on one data set, none of it on another: docs/experiments.md) and are made longer alike, as
far as the new items keep to their share of the places in the bundle's golden requests, which are real histories: what
is shown of the new is not shown of what people choose. The graph itself stays as it was.

The ridge is weighted by the square root of the items' train events: a row seen once is mostly noise.
"""

# Shapes: N n_items + 1, M new items, E width of a text vector, D embedding_dim, H golden requests, K places of a list

import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl

from retort.offline.common.progress import Progress
from retort.offline.common.section import parse_section
from retort.offline.data.catalogue import clean_entities, make_items
from retort.offline.data.interactions import Items
from retort.offline.data.load import DataConfig
from retort.offline.data.rejects import Rejects
from retort.offline.data.sources._files import read_any, table
from retort.offline.embeddings.encoder import encode_items
from retort.offline.embeddings.encoder_config import EncoderConfig
from retort.offline.embeddings.vectors import FloatArray, Vectors
from retort.offline.export.bundle_builder import card, git_commit
from retort.offline.export.topk_graph import grow_table
from retort.shared.base.errors import BundleError, DataError
from retort.shared.base.schema import ITEM_ID, POPULARITY
from retort.shared.model.bundle import (
    CARD,
    GOLDEN,
    ITEM_VECTORS,
    ITEMS,
    MODEL,
    Bundle,
    GoldenRequest,
    export_scorer,
    open_bundle,
    seal_bundle,
)
from retort.shared.model.item_index import ItemIndex
from retort.shared.model.scoring import Scorer

_LEAST_KNOWN = 20
_PENALTIES = tuple(float(10**power) for power in range(-2, 4))
_PLACES = 10
_LENGTHENINGS = np.geomspace(0.05, 50, 400)


@dataclass(frozen=True)
class Added:
    """What `add_items` did. fit: R² of the map on known items that it was not fitted on, by leave-one-out.

    share: of the places of the golden requests' first ten, what the new items take.
    """

    bundle: Path
    n_added: int
    n_without_text: int
    n_fitted: int
    fit: float
    share: float

    def sentence(self) -> str:
        """For a person."""
        lacking = f"; {self.n_without_text} without a text were left out" if self.n_without_text else ""
        return (
            f"{self.n_added} items added{lacking}. The map was learnt on {self.n_fitted} known items; "
            f"left-out known items: R² {self.fit:.2f}. The new items take {self.share:.1%} of the first ten places."
        )


def add_items(
    path: Path,
    items_file: Path,
    out: Path,
    progress: Progress,
    *,
    encoder: str | None = None,
    share: float | None = None,
) -> Added:
    """Seal a new bundle into `out` in which the file's new items are recommendable.

    items_file: item_id, title and attributes as the recipe's `[data]` reads them, of new items *and* of known ones: the
    map is learnt on the texts of the latter. encoder: another than the recipe's. share: of the places in lists of ten,
    what the new items may take; None: their share of the catalogue. DataError and BundleError say what is missing.
    """
    bundle = open_bundle(path)
    items = read_items(items_file, bundle, progress)
    config = parse_section(EncoderConfig, _said(bundle, "encoder"), "encoder")
    vectors = encode_items(items, config.model_copy(update={"model": encoder or config.model}), progress)
    known = np.array([item_id in bundle.item_index for item_id in vectors.ids])
    if known.all():
        raise DataError(f"{items_file.name} names no item with a text that the bundle does not know; nothing to add.")
    if known.sum() < _LEAST_KNOWN:
        raise DataError(
            f"{items_file.name} has texts of {known.sum()} items that the bundle knows, and the map wants "
            f"{_LEAST_KNOWN}; give the texts of the known items in the same file."
        )
    new = new_rows(bundle, vectors, known, share)
    n_new = int((~items.frame[ITEM_ID].is_in(list(bundle.item_index.ids))).sum())
    sealed = _seal(bundle, items, new.ids, new.rows_MD, out)
    return Added(sealed, len(new.ids), n_new - len(new.ids), int(known.sum()), new.fit, new.share)


def read_items(path: Path, bundle: Bundle, progress: Progress) -> Items:
    """The file's items with the texts that the bundle's own recipe would make of them."""
    config = parse_section(DataConfig, _said(bundle, "data"), "data")
    options: dict[str, Any] = config.options
    columns = {ITEM_ID: str(options.get("item_id", ITEM_ID))}
    if options.get("title"):
        columns["title"] = str(options["title"])
    if not path.is_file():
        raise DataError(f"there is no file {path}; name a .parquet, .csv, .tsv or .jsonl file of items.")
    rejects = Rejects()
    frame = read_any(path, rejects, progress)
    has = frame.collect_schema().names()
    lists = {name: mark for name, mark in dict(options.get("lists", {})).items() if name in has}
    entities = clean_entities([table(path, frame, columns, lists, others=True)], ITEM_ID, rejects)
    if len(rejects):
        progress.say(f"{len(rejects)} rows of {path.name} were rejected; `retort data check` says why")
    wanted = pl.Series(ITEM_ID, [], dtype=pl.String)
    return make_items(entities, wanted, config.text_columns, config.text_template, keep_unseen=True)[0]


@dataclass(frozen=True)
class NewRows:
    """The new items and their table rows (M, D); the map's leave-one-out R², and the share of places that they take."""

    ids: list[str]
    rows_MD: FloatArray
    fit: float
    share: float


def new_rows(bundle: Bundle, vectors: Vectors, known: Any, share: float | None = None) -> NewRows:
    """Rows for the vectors that are not `known`, in their order; `share` as in `add_items`."""
    from sklearn.linear_model import RidgeCV

    table_ND = bundle.item_vectors
    if table_ND is None:
        raise BundleError(f"{bundle.path} has no item vectors, so nothing can be learnt from them; export it again.")
    places = np.array(
        bundle.item_index.indexes([one for one, is_known in zip(vectors.ids, known, strict=True) if is_known])
    )
    own_KD, weights_K = table_ND[places], np.sqrt(np.maximum(bundle.popularity[places], 1.0))
    ridge = RidgeCV(_PENALTIES, store_cv_results=True).fit(vectors.vectors[known], own_KD, sample_weight=weights_K)
    rows_MD = _evened(ridge.predict(vectors.vectors[~known]).astype(np.float32))
    wanted = len(rows_MD) / (len(rows_MD) + bundle.manifest.n_items) if share is None else share
    longer, taken = _lengthening(bundle, rows_MD, wanted)
    ids = [item_id for item_id, is_known in zip(vectors.ids, known, strict=True) if not is_known]
    return NewRows(ids, rows_MD * np.float32(longer), _left_out_fit(ridge, own_KD, weights_K), taken)


def _evened(rows_MD: FloatArray) -> FloatArray:
    """The square root of each length, in the same direction."""
    lengths_M1 = np.maximum(np.linalg.norm(rows_MD, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    evened: FloatArray = rows_MD / np.sqrt(lengths_M1)
    return evened


def grown_scorer(bundle: Bundle, rows_MD: FloatArray) -> Scorer:
    """The bundle's student with these items behind its own."""
    graph, table_PD = grown_graph(bundle, rows_MD)
    n_items = bundle.manifest.n_items + len(rows_MD)
    return Scorer(graph, n_items=n_items, max_length=bundle.manifest.max_length, table=table_PD)


def grown_graph(bundle: Bundle, rows_MD: FloatArray) -> tuple[bytes, FloatArray]:
    """The bundle's graph with these items behind its own, and the item table (P, D) as it is stored beside it."""
    assert bundle.item_vectors is not None
    model = onnx.load_from_string(bundle.graph)
    stored_PD = grow_table(model, np.concatenate([bundle.item_vectors, rows_MD]))
    return model.SerializeToString(), stored_PD


def _lengthening(bundle: Bundle, rows_MD: FloatArray, share: float) -> tuple[float, float]:
    """The greatest factor with which the rows take no more than `share` of the places, and what they take then.

    Scores are products with the rows, so one asking of the student tells those of all factors.
    """
    n_known, n_new = bundle.manifest.n_items, len(rows_MD)
    scorer, index = grown_scorer(bundle, rows_MD), bundle.item_index
    known, new = np.arange(1, n_known + 1), np.arange(n_known + 1, n_known + n_new + 1)
    histories = [np.array(index.indexes(request.history), dtype=np.int64) for request in bundle.golden]
    n_places = min(_PLACES, n_known)
    best_HK = scorer.top_k(histories, n_places, hidden=[np.concatenate([new, seen]) for seen in histories]).scores_BK
    new_HK = scorer.top_k(histories, min(n_places, n_new), hidden=[known] * len(histories)).scores_BK
    taken = np.array([_places_taken(best_HK, factor * new_HK) for factor in _LENGTHENINGS])
    within = np.flatnonzero(taken <= share)
    chosen = int(within[-1]) if len(within) else int(taken.argmin())
    return float(_LENGTHENINGS[chosen]), float(taken[chosen])


def _places_taken(best_HK: FloatArray, new_HK: FloatArray) -> float:
    """The share of places that go to new items, where each list keeps its best K."""
    ranked = np.argsort(-np.concatenate([best_HK, new_HK], axis=1), axis=1, kind="stable")
    return float((ranked[:, : best_HK.shape[1]] >= best_HK.shape[1]).mean())


def _left_out_fit(ridge: Any, own_KD: FloatArray, weights_K: Any) -> float:
    """1 − the squared error of left-out rows over their spread, weighted as the fit is."""
    best = _PENALTIES.index(float(ridge.alpha_))
    # the stored errors are of rows scaled by the square root of their weight
    errors = float(ridge.cv_results_[:, :, best].sum())
    mean_D = np.average(own_KD, axis=0, weights=weights_K)
    return 1.0 - errors / float((weights_K[:, None] * (own_KD - mean_D) ** 2).sum())


def _seal(bundle: Bundle, items: Items, ids: list[str], rows_MD: FloatArray, out: Path) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".adding-", dir=out))
    try:
        graph, stored_PD = grown_graph(bundle, rows_MD)
        (work / MODEL).write_bytes(graph)
        np.save(work / ITEM_VECTORS, stored_PD, allow_pickle=False)
        grown = _item_rows(bundle, items, ids)
        grown.write_parquet(work / ITEMS)
        manifest = bundle.manifest.model_copy(
            update={
                "n_items": len(grown),
                "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "git_commit": git_commit(),
                "recipe": {**bundle.manifest.recipe, "items_added": {"to": bundle.bundle_id, "count": len(ids)}},
            }
        )
        scorer = export_scorer(work, n_items=len(grown), max_length=manifest.max_length)
        golden = [_answered(scorer, ItemIndex(grown[ITEM_ID]), request).model_dump_json() for request in bundle.golden]
        (work / GOLDEN).write_text("\n".join(golden) + "\n", encoding="utf-8")
        said = (
            f"\n{len(ids)} items were added to `{bundle.bundle_id}` from their texts; it was measured without them.\n"
        )
        (work / CARD).write_text(card(manifest) + said, encoding="utf-8")
        work.chmod(0o755)  # mkdtemp's 0700 would shut out a server that runs as another user
        return seal_bundle(work, out, manifest)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _item_rows(bundle: Bundle, items: Items, ids: list[str]) -> pl.DataFrame:
    """The bundle's items, then the new ones with no train event and the attributes that the bundle has columns for."""
    own = pl.DataFrame(pl.from_arrow(bundle.items))
    added = pl.DataFrame({ITEM_ID: ids}, schema={ITEM_ID: pl.String}).join(
        items.frame, on=ITEM_ID, how="left", maintain_order="left"
    )
    columns = [name for name in added.columns if name in own.columns]
    added = added.select(columns).with_columns(pl.lit(0, own.schema[POPULARITY]).alias(POPULARITY))
    try:
        return pl.concat([own, added.cast({name: own.schema[name] for name in columns})], how="diagonal")
    except pl.exceptions.PolarsError as error:
        raise DataError(f"the new items' attributes do not fit the bundle's ({error}); give them like types.") from None


def _answered(scorer: Scorer, index: ItemIndex, request: GoldenRequest) -> GoldenRequest:
    """The same question, with what the grown graph answers."""
    history = np.array(index.indexes(request.history), dtype=np.int64)
    hidden = np.array(index.indexes([*request.history, *request.exclude]), dtype=np.int64)
    items, scores = scorer.top_k([history], request.k, hidden=[hidden]).row(0)
    return request.model_copy(
        update={"items": [index.id(int(item)) for item in items], "scores": [float(score) for score in scores]}
    )


def _said(bundle: Bundle, section: str) -> dict[str, Any]:
    return dict(bundle.manifest.recipe.get(section, {}))
