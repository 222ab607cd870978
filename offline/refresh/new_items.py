"""New items that were requested over HTTP: described, added to the champion by their texts, and promoted.

The new bundle is sealed beside the champion's. Where another bundle has become champion meanwhile, the items are added
to that one; their texts are in the store, so no model is called again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from sqlalchemy import Engine

from retort.offline.common.progress import Progress
from retort.offline.common.section import parse_section
from retort.offline.common.tracing import span
from retort.offline.data.interactions import KNOWLEDGE, Items
from retort.offline.export.bundle_items import with_new_items
from retort.offline.export.cold_items import add_items
from retort.offline.export.publish import publish_to
from retort.offline.jobs.heartbeat import Heartbeat
from retort.offline.knowledge.catalogue_names import read_names
from retort.offline.knowledge.config import KnowledgeConfig
from retort.offline.knowledge.describe import item_catalogue, own_words, stored_texts, with_corrections
from retort.offline.knowledge.report import KnowledgeReport
from retort.offline.knowledge.store import KnowledgeStore
from retort.offline.knowledge.writer import ItemWriter
from retort.offline.profiles.backends._base import ProfileBackend
from retort.offline.profiles.report import ProfilesReport
from retort.offline.refresh.chunks import ChunkItem
from retort.offline.refresh.jobs import JobSpec
from retort.shared.base.errors import KnowledgeError
from retort.shared.base.schema import ITEM_ID
from retort.shared.base.settings import Settings
from retort.shared.model import registry
from retort.shared.model.bundle import ITEMS, Bundle, open_bundle
from retort.shared.model.registry import CHAMPION, AliasMovedError
from retort.shared.profiles.new_items import NewItems, save_result

_TRIES = 5  # as long as others move the alias
_VECTORS = "item_vectors.db"  # in RETORT_HOME: texts of known items are encoded once
# Describes the items that lack a text; returns their texts.
DescribeItems = Callable[[Items, KnowledgeConfig], pl.DataFrame]


@dataclass(frozen=True)
class Placement:
    """New items and the champion that they are added to."""

    bundle: Bundle
    new: NewItems

    @property
    def unknown(self) -> list[str]:
        """Ids of the items that the champion does not have."""
        ids = dict.fromkeys(str(item["item_id"]) for item in self.new.items)
        return [item_id for item_id in ids if item_id not in self.bundle.item_index]

    @property
    def config(self) -> KnowledgeConfig:
        """[knowledge] of the champion's recipe."""
        return parse_section(KnowledgeConfig, dict(self.bundle.manifest.recipe.get("knowledge", {})), "knowledge")

    @property
    def needs_model(self) -> bool:
        """Whether a language model describes some of the items."""
        unknown = set(self.unknown)
        lacking = [item for item in self.new.items if item["item_id"] in unknown and not item.get(KNOWLEDGE)]
        return self.config.generates and bool(lacking)


def open_placement(engine: Engine, new: NewItems, tenant: str) -> Placement:
    """Open the champion of a tenant.

    Raises:
        RegistryError: There is none.
        BundleError: Its files are damaged.
        KnowledgeError: Items come with knowledge, and the champion's recipe has no use for it.
    """
    champion = registry.resolve(engine, CHAMPION, tenant=tenant)
    placement = Placement(open_bundle(Path(champion.uri.removeprefix("file://"))), new)
    if not placement.config.is_on and any(item.get(KNOWLEDGE) for item in new.items):
        raise KnowledgeError(
            "the champion's recipe has no [knowledge], so its items cannot get any; send the items without it."
        )
    return placement


def place_items(
    engine: Engine,
    placement: Placement,
    tenant: str,
    progress: Progress,
    describe: DescribeItems | None = None,
    check: Callable[[], None] = lambda: None,
    cache_path: Path | None = None,
) -> str:
    """Add the items to the champion, and make the new bundle champion. Returns what became of them, as a sentence.

    Args:
        describe: Writes the texts of items that have none; None: they are added without.
        check: Called before the bundle becomes champion; it raises if the work must end.
        cache_path: File with vectors of texts that were encoded before.

    Raises:
        RetortError: The items cannot be described or added, or the champion moves again and again.
    """
    for _ in range(_TRIES):
        try:
            return _place(engine, placement, tenant, progress, describe, check, cache_path)
        except AliasMovedError as error:
            progress.say(str(error))
            placement = open_placement(engine, placement.new, tenant)
    raise AliasMovedError(f"{CHAMPION} was moved {_TRIES} times while new items were added; try again later.")


def _place(
    engine: Engine,
    placement: Placement,
    tenant: str,
    progress: Progress,
    describe: DescribeItems | None,
    check: Callable[[], None],
    cache_path: Path | None,
) -> str:
    bundle, new, unknown = placement.bundle, placement.new, placement.unknown
    n_known = len(new.items) - len(unknown)
    known = f" Known before and unchanged: {n_known}." if n_known else ""
    if not unknown:
        return f"No item was added to {bundle.bundle_id}.{known}"
    items = with_new_items(bundle, new.items)
    folder = bundle.path.parent
    added = add_items(bundle, items, folder, progress, share=new.share, describe=describe, cache_path=cache_path)
    check()
    published = publish_to(engine, added.bundle, folder, alias=None, tenant=tenant)
    registry.promote(
        engine,
        published.bundle_id,
        CHAMPION,
        tenant=tenant,
        set_by=new.requested_by,
        reason=f"new items over HTTP: {added.n_added} added",
        expected=bundle.bundle_id,
    )
    lacking = _without_knowledge(placement, added.bundle)
    return f"{added.sentence()}{lacking}{known} {published.bundle_id} is {CHAMPION}."


def _without_knowledge(placement: Placement, sealed: Path) -> str:
    """How many of the added items have no text, as a sentence; "" where all have one or the recipe has none."""
    if not placement.config.is_on:
        return ""
    items = pl.read_parquet(sealed / ITEMS).filter(pl.col(ITEM_ID).is_in(placement.unknown))
    n_lacking = items[KNOWLEDGE].null_count() if KNOWLEDGE in items.columns else items.height
    return f" {n_lacking} of them have no knowledge." if n_lacking else ""


def make_describer(
    store: KnowledgeStore,
    backend: ProfileBackend,
    run: ProfilesReport,
    progress: Progress,
    check: Callable[[], None],
    *,
    final: bool,
) -> DescribeItems:
    """Return a function that writes the texts that items lack with an open model, and reads them from the store.

    Args:
        run: Receives the counts.
        check: Called after each stored reply.
        final: Items whose replies are refused are left without a text; else too many of them raise KnowledgeError.
    """

    def describe(items: Items, config: KnowledgeConfig) -> pl.DataFrame:
        def keep(report: ProfilesReport) -> None:
            config.spending.check(report)
            check()

        catalogue, item_ids = item_catalogue(items, config), items.frame["item_id"].to_list()
        asked = config.model_copy(update={"max_failed": 1.0}) if final else config
        with own_words():
            writer = ItemWriter(
                asked, store, backend, catalogue, read_names(items), run, progress, len(items.frame), keep
            )
            writer.write_chunk(item_ids)
            run.stop_if_unanswered()
            run.stop_if_too_many_failed(asked.max_failed, final=True)
        texts = stored_texts(item_ids, catalogue, store, writer.key)
        return with_corrections(texts, items, store, KnowledgeReport(backend.model, len(item_ids)))

    return describe


def make_work(
    engine: Engine,
    placement: Placement,
    backend: ProfileBackend | None,
    item: ChunkItem,
    spec: JobSpec,
    store: KnowledgeStore,
    progress: Progress,
    *,
    final: bool,
) -> Callable[[Heartbeat], None]:
    """Return the work on the only chunk of a request: describe the items, add them, and store what became of them."""
    item.report.backend, item.report.what = "" if backend is None else backend.model, "item text"
    item.spending = placement.config.spending
    cache = Settings().retort_home / _VECTORS

    def work(heartbeat: Heartbeat) -> None:
        describe = None
        if backend is not None:
            describe = make_describer(store, backend, item.report, progress, heartbeat.check, final=final)
        with span("new items", spec.trace, job=item.job_id, items=item.n_users):
            result = place_items(engine, placement, spec.tenant, progress, describe, heartbeat.check, cache)
        item.report.failed_users.clear()  # the items are there, with a text or without
        save_result(engine, item.job_id, result)

    return work
