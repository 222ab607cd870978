"""Description of items: reads or writes the texts that a recipe asks for, and returns them as one table."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import orjson
import polars as pl

from retort.offline.common.chunking import batches
from retort.offline.common.progress import Progress
from retort.offline.data.interactions import KNOWLEDGE, Items
from retort.offline.knowledge.catalogue_names import CatalogueNames, read_names
from retort.offline.knowledge.checks import RIVALS, contradiction, new_words, other_category
from retort.offline.knowledge.config import FILE, KnowledgeConfig, backend_name, named_model, open_backend
from retort.offline.knowledge.imported import read_knowledge
from retort.offline.knowledge.prompt import make_task
from retort.offline.knowledge.report import KnowledgeReport
from retort.offline.knowledge.store import KnowledgeKey, KnowledgeStore
from retort.offline.knowledge.writer import UNKNOWN, ItemWriter, knowledge_key
from retort.offline.profiles.backends._base import ProfileBackend
from retort.offline.profiles.backends.template import is_by_rule
from retort.offline.profiles.history import Catalogue
from retort.offline.profiles.item_facts import plain_text
from retort.offline.profiles.report import ProfilesReport
from retort.shared.base.errors import KnowledgeError, ProfileError, RecipeError
from retort.shared.base.settings import LanguageModelSettings

CORRECTION = "correction"
# source: the model, the file, or "correction"; fields: JSON of field → phrases
SCHEMA = {
    "item_id": pl.String,
    KNOWLEDGE: pl.String,
    "source": pl.String,
    "written_at": pl.String,
    "fields": pl.String,
}
_OWN_WORDS = {"[profiles": "[knowledge", "finished profiles": "finished texts", "family = 'short'": "family = 'text'"}
_READ_AT_ONCE = 4096
_MEASURED = 20_000  # texts that new words and contradictions are counted on


def describe_items(
    items: Items, config: KnowledgeConfig, store: KnowledgeStore, settings: LanguageModelSettings, progress: Progress
) -> tuple[pl.DataFrame, KnowledgeReport]:
    """Return the texts of all items, with people's corrections. A backend writes those that the store lacks.

    Returns:
        A table of `SCHEMA` with a row for each item that has a text, and the report.

    Raises:
        KnowledgeError: The model or file cannot be used, the budget is spent, too many items failed, or the texts do
            not tell items apart. Finished texts are kept.
    """
    started_s = time.monotonic()
    catalogue = item_catalogue(items, config)
    names = read_names(items)
    if config.backend == FILE:
        known, report = read_knowledge(config, items, progress)
    else:
        with own_words():
            known, report = _generate(items, config, store, settings, progress, catalogue, names)
        report.blank = items.frame.height - catalogue.count(items.frame["item_id"])
    known = with_corrections(known, items, store, report)
    measure(known, catalogue, names, report)
    report.seconds = time.monotonic() - started_s
    progress.say(report.line())
    # rules can only restate what was given, and similar items have similar facts
    report.refuse_few_distinct(0.0 if is_by_rule(report.backend) else config.checks.min_distinct)
    report.refuse_low_coverage(config.min_coverage)
    return known, report


def item_catalogue(items: Items, config: KnowledgeConfig) -> Catalogue:
    """Return the facts that prompts state about the items; those of which nothing is known are left out.

    Raises:
        RecipeError: An attribute does not exist.
    """
    try:
        return Catalogue(items, config.attributes, config.item_text_chars, clean=plain_text, keep_blank=False)
    except RecipeError as error:
        raise RecipeError(_renamed(str(error))) from None


@contextmanager
def own_words() -> Iterator[None]:
    """Translate the errors of the profile factory: they name its section and its texts."""
    try:
        yield
    except ProfileError as error:
        raise KnowledgeError(_renamed(str(error))) from None


def _renamed(sentence: str) -> str:
    for name, own in _OWN_WORDS.items():
        sentence = sentence.replace(name, own)
    return sentence


def _generate(
    items: Items,
    config: KnowledgeConfig,
    store: KnowledgeStore,
    settings: LanguageModelSettings,
    progress: Progress,
    catalogue: Catalogue,
    names: CatalogueNames,
) -> tuple[pl.DataFrame, KnowledgeReport]:
    item_ids = items.frame["item_id"].to_list()
    if (found := _all_stored(item_ids, config, store, settings, catalogue)) is not None:
        return found
    run = ProfilesReport(backend_name(config, settings), what="item text")
    backend = open_backend(config, settings)
    try:
        run.backend = backend.model
        writer = new_writer(config, store, backend, catalogue, names, run, progress, len(item_ids))
        for chunk in batches(item_ids, config.chunk_items):
            writer.write_chunk(chunk)
    finally:
        backend.close()
    run.stop_if_too_many_failed(config.max_failed, final=True)
    return stored_texts(item_ids, catalogue, store, writer.key), report_of(writer, len(item_ids))


def _all_stored(
    item_ids: Sequence[str],
    config: KnowledgeConfig,
    store: KnowledgeStore,
    settings: LanguageModelSettings,
    catalogue: Catalogue,
) -> tuple[pl.DataFrame, KnowledgeReport] | None:
    """The texts if none is missing, as after batch files: no model is loaded, and no server is called."""
    model = named_model(config, settings)
    if model is None:
        return None
    key, report = knowledge_key(config, model), KnowledgeReport(model, len(item_ids))
    corrected = store.corrections(item_ids)
    for chunk in batches(item_ids, _READ_AT_ONCE):
        stored = store.find(key, chunk)
        for item_id in chunk:
            facts = catalogue.facts(item_id)
            if facts is None or item_id in corrected:
                continue
            found = stored.get((item_id, make_task(item_id, facts).content_hash))
            if found is None or found.error is not None:
                return None
            report.reused += 1
            report.unknown += found.text is None
    return stored_texts(item_ids, catalogue, store, key), report


def new_writer(
    config: KnowledgeConfig,
    store: KnowledgeStore,
    backend: ProfileBackend,
    catalogue: Catalogue,
    names: CatalogueNames,
    run: ProfilesReport,
    progress: Progress,
    total: int | None,
) -> ItemWriter:
    """Return a writer that stops once the recipe's budget is spent."""
    return ItemWriter(config, store, backend, catalogue, names, run, progress, total, config.spending.check)


def report_of(writer: ItemWriter, n_items: int) -> KnowledgeReport:
    """Return the report of a generation, before its texts are measured."""
    run, spending = writer.report, writer.config.spending
    report = KnowledgeReport(writer.backend.model, n_items)
    report.add_run(run, spending.cost_usd(run.prompt_tokens, run.completion_tokens, run.cached_tokens))
    report.notes, report.waiting = writer.notes, len(writer.waiting)
    report.unknown = report.notes.pop(UNKNOWN, 0)
    return report


def stored_texts(
    item_ids: Sequence[str], catalogue: Catalogue, store: KnowledgeStore, key: KnowledgeKey
) -> pl.DataFrame:
    """Return the stored texts of these items as they are now; a text about changed facts is not one."""
    rows = []
    for chunk in batches(item_ids, _READ_AT_ONCE):
        stored = store.find(key, chunk)
        for item_id in chunk:
            facts = catalogue.facts(item_id)
            found = None if facts is None else stored.get((item_id, make_task(item_id, facts).content_hash))
            if found is not None and found.text is not None:
                fields = None if found.fields is None else orjson.dumps(found.fields).decode()
                rows.append((item_id, found.text, key.model, _moment(found.created_at), fields))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def with_corrections(known: pl.DataFrame, items: Items, store: KnowledgeStore, report: KnowledgeReport) -> pl.DataFrame:
    """Put people's corrections in the place of the models' texts; an item whose text is forbidden has no row."""
    corrections = store.corrections(items.frame["item_id"].to_list())
    report.corrected = len(corrections)
    if not corrections:
        return known
    others = known.filter(~pl.col("item_id").is_in(list(corrections)))
    rows = [
        (item_id, correction.text, CORRECTION, _moment(correction.set_at), None)
        for item_id, correction in corrections.items()
        if correction.text is not None
    ]
    return pl.concat([others, pl.DataFrame(rows, schema=SCHEMA, orient="row")]).sort("item_id")


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def measure(known: pl.DataFrame, catalogue: Catalogue, names: CatalogueNames, report: KnowledgeReport) -> None:
    """Count the texts, the different ones, their new words, and those that contradict what was given."""
    report.described, report.distinct = known.height, known[KNOWLEDGE].n_unique()
    n_new, n_measured = 0, 0
    for item_id, text, as_json in known.head(_MEASURED).select("item_id", KNOWLEDGE, "fields").iter_rows():
        facts = catalogue.facts(item_id)
        if facts is None:
            continue
        fields = orjson.loads(as_json) if as_json else {}
        rivals = fields.get(RIVALS, [])
        report.rivals += len(rivals)
        report.unknown_rivals += sum(not names.knows(str(rival)) for rival in rivals)
        report.other_categories += other_category(fields, facts, names)
        own = len(new_words(text, facts))
        n_new, n_measured = n_new + own, n_measured + 1
        report.restated += own == 0
        report.contradictions += contradiction(text, facts, names) is not None
    report.new_words = round(n_new / n_measured, 2) if n_measured else 0.0
