"""Cold items in a sealed bundle without training: a row of the item table is predicted from an item's text.

The student's graph is unchanged but for the larger item table; `item_regression.py` predicts the new rows.
"""

# Shapes: M new items, D embedding_dim

import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from retort.offline.common.progress import Progress
from retort.offline.common.section import parse_section
from retort.offline.data.catalogue import clean_entities, make_items
from retort.offline.data.interactions import Items
from retort.offline.data.load import DataConfig
from retort.offline.data.rejects import Rejects
from retort.offline.data.sources import table as table_source
from retort.offline.data.sources._files import read_any, table
from retort.offline.data.text import reads_knowledge
from retort.offline.embeddings.encoder_config import EncoderConfig
from retort.offline.embeddings.item_vectors import encode_items
from retort.offline.embeddings.vectors import FloatArray
from retort.offline.export.bundle_builder import card, git_commit, golden_request, with_sources
from retort.offline.export.item_map import write_grown
from retort.offline.export.item_regression import grown_graph, new_rows
from retort.offline.export.precision import bundle_precision, write_vectors
from retort.offline.knowledge.config import KnowledgeConfig
from retort.offline.knowledge.items import with_knowledge
from retort.offline.knowledge.new_items import DescribeNew, texts_for_bundle
from retort.shared.base.errors import DataError
from retort.shared.base.schema import ITEM_ID, POPULARITY
from retort.shared.model.bundle import CARD, GOLDEN, ITEMS, MODEL, Bundle, GoldenRequest, export_scorer, seal_bundle
from retort.shared.model.item_index import ItemIndex
from retort.shared.model.manifest import FORMAT_VERSION
from retort.shared.model.scoring import Scorer

_LEAST_KNOWN = 20


@dataclass(frozen=True)
class Added:
    """Result of `add_items`.

    Attributes:
        bundle: Folder of the new bundle.
        n_added: Number of new items.
        n_without_text: New items that were left out, because they have no text.
        n_fitted: Number of known items that the regression was fitted on.
        fit: R² of the regression on known items, by leave-one-out.
        share: Share of the places of the golden requests' first ten that the new items take.
    """

    bundle: Path
    n_added: int
    n_without_text: int
    n_fitted: int
    fit: float
    share: float

    def sentence(self) -> str:
        """Return the result as text."""
        without_text = f"; {self.n_without_text} without a text were left out" if self.n_without_text else ""
        return (
            f"{self.n_added} items added{without_text}. The regression was fitted on {self.n_fitted} known "
            f"items; its R² on left-out known items is {self.fit:.2f}. "
            f"The new items take {self.share:.1%} of the first ten places."
        )


def add_items(
    bundle: Bundle,
    items: Items,
    out: Path,
    progress: Progress,
    *,
    encoder: str | None = None,
    share: float | None = None,
    knowledge: Path | None = None,
    describe: DescribeNew | None = None,
    cache_path: Path | None = None,
) -> Added:
    """Seal a new bundle into `out` in which the new items are recommendable.

    Args:
        bundle: Bundle to start from.
        items: New items *and* known ones, on whose texts the regression is fitted; see `read_items`.
        out: Folder of bundles that receives the new one.
        progress: Receives progress.
        encoder: Encoder, if not the recipe's.
        share: Largest share of the places in lists of ten that the new items may take; None: their share of the
            catalogue.
        knowledge: File with ready item knowledge, for a recipe with `[knowledge]`.
        describe: Writes the knowledge of new items that have none; None: they are added without.
        cache_path: File with vectors of texts that were encoded before; None: all are encoded.

    Raises:
        KnowledgeError: The new items cannot be described.
        DataError: There is no new item with a text, or there are too few known items.
        BundleError: The student of the bundle cannot take new items.
    """
    items, texts = _with_knowledge(items, bundle, progress, knowledge, describe)
    config = parse_section(EncoderConfig, _section(bundle, "encoder"), "encoder")
    if encoder is not None:
        if texts is not None and config.reads_knowledge and not _text_reads_knowledge(bundle):
            progress.say("--encoder reads title and text; item knowledge is kept for responses and places no item")
        config = config.model_copy(update={"model": encoder, "views": ()})
    vectors = encode_items(items, config, progress, cache_path)
    known = np.array([item_id in bundle.item_index for item_id in vectors.ids])
    if known.all():
        raise DataError(
            "there is no new item with a text, so there is nothing to add; give a title or attributes to items that "
            "the bundle does not know."
        )
    if known.sum() < _LEAST_KNOWN:
        raise DataError(
            f"there are texts of {known.sum()} items that the bundle knows, and the regression requires "
            f"{_LEAST_KNOWN}; give the texts of the known items too."
        )
    new = new_rows(bundle, vectors, known, share)
    n_new = int((~items.frame[ITEM_ID].is_in(list(bundle.item_index.ids))).sum())
    sealed = _seal(
        bundle, items if texts is None else Items(with_sources(items.frame, texts)), new.ids, new.rows_MD, out
    )
    return Added(sealed, len(new.ids), n_new - len(new.ids), int(known.sum()), new.fit, new.share)


def _text_reads_knowledge(bundle: Bundle) -> bool:
    data = parse_section(DataConfig, _section(bundle, "data"), "data")
    return reads_knowledge(data.text_columns, data.text_template)


def read_items(path: Path, bundle: Bundle, progress: Progress) -> Items:
    """Read the items of a file: item_id, title and attributes as the `[data]` of the bundle's recipe reads them.

    Raises:
        DataError: There is no such file, or it cannot be read.
    """
    config = parse_section(DataConfig, _section(bundle, "data"), "data")
    options: dict[str, Any] = config.options
    columns = {ITEM_ID: str(options.get("item_id", ITEM_ID))}
    if options.get("title"):
        columns["title"] = str(options["title"])
    if not path.is_file():
        raise DataError(f"there is no file {path}; give a .parquet, .csv, .tsv or .jsonl file of items.")
    rejects = Rejects()
    frame = read_any(path, rejects, progress, **_reading(options))
    has = frame.collect_schema().names()
    lists = {name: mark for name, mark in dict(options.get("lists", {})).items() if name in has}
    entities = clean_entities([table(path, frame, columns, lists, others=True)], ITEM_ID, rejects)
    if len(rejects):
        progress.say(f"{len(rejects)} rows of {path.name} were rejected; `retort data check` says why")
    wanted = pl.Series(ITEM_ID, [], dtype=pl.String)
    return make_items(entities, wanted, config.text_columns, config.text_template, keep_unseen=True)[0]


def _with_knowledge(
    items: Items, bundle: Bundle, progress: Progress, file: Path | None, describe: DescribeNew | None
) -> tuple[Items, pl.DataFrame | None]:
    """The items with their knowledge, and its texts with their sources, as the bundle's recipe has it."""
    config = parse_section(KnowledgeConfig, _section(bundle, "knowledge"), "knowledge")
    if not config.is_on:
        if file is not None:
            raise DataError("the bundle's recipe has no [knowledge], so its items cannot get any; omit --knowledge.")
        return items, None
    texts = texts_for_bundle(items, pl.DataFrame(pl.from_arrow(bundle.items)), config, progress, file, describe)
    data = parse_section(DataConfig, _section(bundle, "data"), "data")
    known = with_knowledge(items, texts, data.text_columns, data.text_template, config.facets)
    if lacking := known.knowledge.null_count():
        progress.say(f"{lacking} of {len(known.frame)} items have no knowledge; give it with --knowledge FILE")
    return known, texts


def _reading(options: dict[str, Any]) -> dict[str, Any]:
    """Separator and encoding of the recipe's own items."""
    given = {name: options[name] for name in ("separator", "encoding") if options.get(name) is not None}
    return parse_section(table_source.Config, given, "data.options").reading("items")


def _seal(bundle: Bundle, items: Items, ids: list[str], rows_MD: FloatArray, out: Path) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".adding-", dir=out))
    try:
        graph, stored_PD = grown_graph(bundle, rows_MD)
        (work / MODEL).write_bytes(graph)
        write_vectors(work, stored_PD, bundle_precision(bundle.path))
        grown = _item_rows(bundle, items, ids)
        grown.write_parquet(work / ITEMS)
        write_grown(work, bundle, len(grown))
        manifest = bundle.manifest.model_copy(
            update={
                "n_items": len(grown),
                # format 1 stays: its item table is always inside the graph
                "format_version": 1 if bundle.manifest.format_version == 1 else FORMAT_VERSION,
                "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "git_commit": git_commit(),
                "recipe": {**bundle.manifest.recipe, "items_added": {"to": bundle.bundle_id, "count": len(ids)}},
            }
        )
        scorer = export_scorer(work, n_items=len(grown), max_length=manifest.max_length)
        golden = [
            _with_recommendations(scorer, ItemIndex(grown[ITEM_ID]), request).model_dump_json()
            for request in bundle.golden
        ]
        (work / GOLDEN).write_text("\n".join(golden) + "\n", encoding="utf-8")
        note = (
            f"\n{len(ids)} items were added to `{bundle.bundle_id}` from their texts; the metrics are measured without "
            "them.\n"
        )
        (work / CARD).write_text(card(manifest) + note, encoding="utf-8")
        work.chmod(0o755)  # mkdtemp's 0700 would exclude a server that runs as another user
        return seal_bundle(work, out, manifest)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _item_rows(bundle: Bundle, items: Items, ids: list[str]) -> pl.DataFrame:
    """Return the bundle's items, then the new ones with popularity 0 and the attributes that the bundle has."""
    own = pl.DataFrame(pl.from_arrow(bundle.items))
    added = pl.DataFrame({ITEM_ID: ids}, schema={ITEM_ID: pl.String}).join(
        items.frame, on=ITEM_ID, how="left", maintain_order="left"
    )
    columns = [name for name in added.columns if name in own.columns]
    added = added.select(columns).with_columns(pl.lit(0, own.schema[POPULARITY]).alias(POPULARITY))
    try:
        return pl.concat([own, added.cast({name: own.schema[name] for name in columns})], how="diagonal")
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"the attributes of the new items have other types than the bundle's ({error}); give them the same types."
        ) from None


def _with_recommendations(scorer: Scorer, index: ItemIndex, request: GoldenRequest) -> GoldenRequest:
    """Return the request with the recommendations of the new graph."""
    history = np.array(index.indexes(request.history), dtype=np.int64)
    hidden = np.array(index.indexes([*request.history, *request.exclude]), dtype=np.int64)
    answered = golden_request(scorer, index, history, request.k, hidden)
    return request.model_copy(update={"items": answered.items, "scores": answered.scores})


def _section(bundle: Bundle, section: str) -> dict[str, Any]:
    return dict(bundle.manifest.recipe.get(section, {}))
