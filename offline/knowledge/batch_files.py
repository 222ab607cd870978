"""Batch files about items: one round stores the results that are there and writes the prompts that are missing.

The format is that of `retort.offline.profiles.batch_files`. A first round asks about several items a request; items
that a result left out are asked about alone in the next.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from retort.offline.common.chunking import batches
from retort.offline.common.progress import Progress
from retort.offline.data.interactions import Items
from retort.offline.knowledge.catalogue_names import read_names
from retort.offline.knowledge.config import KnowledgeConfig
from retort.offline.knowledge.describe import item_catalogue, own_words, report_of
from retort.offline.knowledge.report import KnowledgeReport
from retort.offline.knowledge.store import KnowledgeStore
from retort.offline.knowledge.writer import ItemWriter
from retort.offline.profiles.backends._tokens import TokenCounter, estimate_tokens
from retort.offline.profiles.batch_files import BatchBackend, BatchFiles, known_replies, request_options
from retort.offline.profiles.report import ProfilesReport
from retort.shared.base.errors import KnowledgeError


class ItemRound(NamedTuple):
    """Result of one round: its report, the written files, and the number of prompts in them."""

    report: KnowledgeReport
    files: tuple[Path, ...]
    n_waiting: int


def item_round(
    items: Items,
    config: KnowledgeConfig,
    store: KnowledgeStore,
    progress: Progress,
    *,
    model: str,
    results: Sequence[Path],
    target: Path,
    context_tokens: int = 8192,
    count: TokenCounter = estimate_tokens,
) -> ItemRound:
    """Store the texts of the results, and write the other prompts to target, target-2 and so on.

    Args:
        model: Name of the model at the batch service; it is stored with each text.
        results: Result files of all rounds so far.
        context_tokens: Context length of the model, prompt and reply together.
        count: Counts the tokens of a chat.

    Raises:
        KnowledgeError: A result file cannot be read, or no result belongs to this recipe and data.
    """
    item_ids = items.frame["item_id"].to_list()
    catalogue, names = item_catalogue(items, config), read_names(items)
    run = ProfilesReport("batch files", what="item text")
    with own_words():
        known = known_replies(results)
        options = request_options(config.options, "knowledge.options")
        with BatchFiles(target) as files:
            backend = BatchBackend(model, config.sampling, known, files, context_tokens, count, options)
            writer = ItemWriter(config, store, backend, catalogue, names, run, progress, len(item_ids))
            for chunk in batches(item_ids, config.chunk_items):
                writer.write_chunk(chunk)
        paths, n_lines = tuple(files.paths), files.n_lines
    if known and not backend.n_used and not run.reused:
        raise KnowledgeError(
            f"none of the {len(known)} results in {results[0]} belongs to a prompt of this recipe and data; give the "
            "file that the service returned for the exported prompts, and use the same recipe and model."
        )
    report = report_of(writer, len(item_ids))
    report.described = run.written + run.reused - report.unknown
    return ItemRound(report, paths, n_lines)
