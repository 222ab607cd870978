"""Refreshes of items: new and changed items are frozen, and workers describe them chunk by chunk.

    SNAPSHOT/items.parquet      the items to describe, in the order of the chunks
    SNAPSHOT/snapshot.json      counts; written last

Chunks, leases, budgets and dead letters are those of refreshes of users.
"""

import json
import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl
from sqlalchemy import Engine

from retort.offline.data.interactions import Items
from retort.offline.knowledge.catalogue_names import CatalogueNames, read_names
from retort.offline.knowledge.config import KnowledgeConfig, named_model
from retort.offline.knowledge.describe import item_catalogue
from retort.offline.knowledge.missing import find_missing
from retort.offline.knowledge.store import KnowledgeStore
from retort.offline.profiles.history import Catalogue
from retort.offline.refresh.snapshot import read_snapshot_manifest
from retort.shared.base.errors import KnowledgeError
from retort.shared.base.settings import LanguageModelSettings
from retort.shared.db.models import now

FORMAT = 1
_MANIFEST, _ITEMS, _CATALOGUE = "snapshot.json", "items.parquet", "catalogue.parquet"


class NoItemDueError(KnowledgeError):
    """No item lacks a text. For a scheduled refresh this is no failure."""


@dataclass(frozen=True)
class ItemSnapshot:
    """A finished snapshot of items on disk."""

    root: Path
    n_items: int
    chunk_items: int

    @property
    def n_chunks(self) -> int:
        """Number of chunks."""
        return -(-self.n_items // self.chunk_items)

    @cached_property
    def items(self) -> Items:
        """The items to describe."""
        return Items(pl.read_parquet(self.root / _ITEMS))

    @cached_property
    def names(self) -> CatalogueNames:
        """Brands and titles of the whole catalogue at the start of the refresh."""
        return read_names(Items(pl.read_parquet(self.root / _CATALOGUE)))

    def chunk(self, position: int) -> list[str]:
        """Return the item ids of one chunk."""
        if not 0 <= position < self.n_chunks:
            raise KnowledgeError(
                f"{self.root} has {self.n_chunks} chunks and no chunk {position}; use a position below {self.n_chunks}."
            )
        ids: list[str] = self.items.frame["item_id"].slice(position * self.chunk_items, self.chunk_items).to_list()
        return ids


def write_item_snapshot(root: Path, items: Items, item_ids: list[str], chunk_items: int) -> ItemSnapshot:
    """Write a snapshot of some items of a catalogue."""
    root.mkdir(parents=True, exist_ok=True)
    chosen = pl.DataFrame({"item_id": item_ids}).join(items.frame, on="item_id", how="left", maintain_order="left")
    chosen.write_parquet(root / _ITEMS)
    items.frame.write_parquet(root / _CATALOGUE)
    manifest = {"format": FORMAT, "n_items": len(item_ids), "chunk_items": chunk_items}
    (root / _MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return ItemSnapshot(root, len(item_ids), chunk_items)


def open_item_snapshot(root: Path) -> ItemSnapshot:
    """Open a finished snapshot. Raises KnowledgeError if it is missing or has another format."""
    manifest = read_snapshot_manifest(root, FORMAT, "items", KnowledgeError)
    return ItemSnapshot(root, manifest["n_items"], manifest["chunk_items"])


def find_due_items(
    store: KnowledgeStore, items: Items, config: KnowledgeConfig, settings: LanguageModelSettings
) -> list[str]:
    """Return the ids of items without a stored text about their present facts, corrected ones left out.

    Where only the server knows the name of its model, all items are due; their stored texts are found by the worker.
    """
    if named_model(config, settings) is None:
        item_ids = items.frame["item_id"].to_list()
        corrected = store.corrections(item_ids)
        return [item_id for item_id in item_ids if item_id not in corrected]
    missing = find_missing(items, config, store, settings)
    return [item.item_id for item in missing if item.error is None or config.retry_failed]


def freeze_items(
    engine: Engine, items: Items, config: KnowledgeConfig, folder: Path, settings: LanguageModelSettings
) -> ItemSnapshot:
    """Write a snapshot of the items that are due.

    Raises:
        KnowledgeError: The recipe writes no texts with a model.
        NoItemDueError: No item is due.
    """
    if not config.generates:
        raise KnowledgeError(
            "a refresh of items requires a model, and this recipe's [knowledge] names none; add --set "
            "knowledge.backend=openai (or vllm, template)."
        )
    due = find_due_items(KnowledgeStore(engine), items, config, settings)
    if not due:
        raise NoItemDueError("every item has a text about its present facts; no refresh was started.")
    root = folder / "refresh" / f"items-{now():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"
    return write_item_snapshot(root, items, due, config.chunk_items)


class ItemInputs:
    """Snapshot, facts and names that all chunks of one refresh of items share."""

    def __init__(self, root: Path, config: KnowledgeConfig) -> None:
        self.snapshot = open_item_snapshot(root)
        self.catalogue: Catalogue = item_catalogue(self.snapshot.items, config)
        self.names = self.snapshot.names
