"""Profile generation: writes the missing profiles of a run, and reads them back as a table for the next step."""

import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from retort.offline.common.chunking import batches
from retort.offline.common.progress import Progress
from retort.offline.data.interactions import Items
from retort.offline.profiles.backends.template import is_by_rule
from retort.offline.profiles.batch_writer import ProfileWriter
from retort.offline.profiles.config import (
    IMPORTED,
    ProfilesConfig,
    backend_name,
    combination_writer,
    open_backend,
    open_catalogue,
    prompt_writers,
)
from retort.offline.profiles.corruption import corrupt_profiles
from retort.offline.profiles.faithfulness import FaithfulnessChecker
from retort.offline.profiles.history import UserHistory
from retort.offline.profiles.imported import import_profiles
from retort.offline.profiles.population import count_population
from retort.offline.profiles.profile_tasks import ProfileTask, build_tasks, combination_tasks, truncate_histories
from retort.offline.profiles.report import ProfilesReport
from retort.offline.profiles.store import ProfileKey, ProfileStore
from retort.shared.base.errors import ProfileError, RecipeError
from retort.shared.base.hashing import hash_json
from retort.shared.base.settings import LanguageModelSettings
from retort.shared.profiles.profile_choices import Choice

_READ_AT_ONCE = 4096  # users whose texts are read at once
_SCHEMA = {"user_id": pl.String, "aspect": pl.String, "text": pl.String, "grounding": pl.Float64}


def write_profiles(
    histories: Iterable[UserHistory],
    items: Items,
    config: ProfilesConfig,
    store: ProfileStore,
    settings: LanguageModelSettings,
    progress: Progress,
) -> ProfilesReport:
    """Write the profiles that the store lacks; users without a known item get none.

    Raises:
        ProfileError: The model or the imported file cannot be used; finished profiles are kept.
        RecipeError: `history_share` is set for imported profiles.
    """
    started_s = time.monotonic()
    if config.backend == IMPORTED:
        if config.history_share < 1:
            raise RecipeError(
                "[profiles] history_share cannot apply to imported profiles; remove it, or choose another backend."
            )
        report = import_profiles(histories, items, config, store)
    else:
        report = _generate(histories, items, config, store, settings, progress)
    report.seconds = time.monotonic() - started_s
    progress.say(report.line())
    return report


def profiles_table(
    histories: Iterable[UserHistory],
    items: Items,
    config: ProfilesConfig,
    store: ProfileStore,
    report: ProfilesReport,
) -> pl.DataFrame:
    """Return all of `profiles_tables` as one table, corrupted where an experiment sets `[profiles.damage]`."""
    tables = profiles_tables(histories, items, config, store, report)
    return corrupt_profiles(pl.concat([pl.DataFrame(schema=_SCHEMA), *tables]), config.damage)


def profiles_tables(
    histories: Iterable[UserHistory],
    items: Items,
    config: ProfilesConfig,
    store: ProfileStore,
    report: ProfilesReport,
) -> Iterator[pl.DataFrame]:
    """Yield the texts for the next step, some users at a time.

    A text that the user edited or pinned replaces the model's and has faithfulness 1; a user who erased the profile has
    no row.

    Yields:
        Tables with user_id, aspect, text and grounding (faithfulness score, null: unknown); one row for each user and
        aspect, or one for each user where aspects are combined.
    """
    catalogue = open_catalogue(items, config)
    for chunk in batches(histories, _READ_AT_ONCE):
        chunk = truncate_histories(chunk, config.history_share)
        tasks = build_tasks(chunk, catalogue, config.max_history, ProfilesReport(report.backend))
        chosen = store.choices([task.user_id for task in tasks])
        rows = list(_chosen_rows(chosen.values(), report))
        rows += _stored_rows([task for task in tasks if task.user_id not in chosen], config, store, report)
        yield pl.DataFrame(rows, schema=_SCHEMA)


def write_profiles_table(path: Path, config: ProfilesConfig, tables: Iterable[pl.DataFrame]) -> tuple[int, int]:
    """Write `profiles_tables` to one Parquet file.

    Only corruption needs all tables in memory at once, because it exchanges texts between users.

    Returns:
        The number of texts, and the number of distinct texts.

    Raises:
        ProfileError: All users have the same text.
    """
    if config.damage.share:
        tables = [corrupt_profiles(pl.concat([pl.DataFrame(schema=_SCHEMA), *tables]), config.damage)]
    schema = pl.DataFrame(schema=_SCHEMA).to_arrow().schema
    n_texts, distinct = 0, set[int]()
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table.to_arrow().cast(schema))
            n_texts += len(table)
            distinct.update(table["text"].hash())
    refuse_one_text(n_texts, len(distinct))
    return n_texts, len(distinct)


def refuse_one_text(n_texts: int, n_distinct: int) -> None:
    """Raise ProfileError if several texts are all the same, which says nothing about any user."""
    if n_texts > 1 and n_distinct == 1:
        raise ProfileError(
            f"all {n_texts} profiles are the same text, so they cannot tell users apart; read some of them with "
            "`retort profiles show`, and use another model, prompt or file."
        )


def _chosen_rows(choices: Iterable[Choice], report: ProfilesReport) -> Iterator[dict[str, Any]]:
    for choice in choices:
        if choice.text is not None:
            for aspect in sorted({key.aspect for key in report.keys}):
                yield {"user_id": choice.user_id, "aspect": aspect, "text": choice.text, "grounding": 1.0}


def _stored_rows(
    tasks: Sequence[ProfileTask], config: ProfilesConfig, store: ProfileStore, report: ProfilesReport
) -> Iterator[dict[str, Any]]:
    if report.source is not None:
        tasks = [ProfileTask(task.user_id, report.source, ()) for task in tasks]
    elif combination_writer(config) is not None:
        tasks = combination_tasks(tasks, _aspect_keys(config, report), store)
    for key in report.keys:
        yield from _text_rows(tasks, key, store)


def _text_rows(tasks: Sequence[ProfileTask], key: ProfileKey, store: ProfileStore) -> Iterator[dict[str, Any]]:
    stored = store.find(key, [task.user_id for task in tasks])
    for task in tasks:
        found = stored.get((task.user_id, task.history_hash))
        if found is not None and found.text is not None:
            values = {"aspect": key.aspect, "text": found.text, "grounding": found.faithfulness}
            yield {"user_id": task.user_id, **values}


def _aspect_keys(config: ProfilesConfig, report: ProfilesReport) -> list[ProfileKey]:
    model, digest = report.keys[0].model, hash_json(config.parameters)
    return [ProfileKey(writer.aspect, writer.version, model, digest) for writer in prompt_writers(config)]


def _generate(
    histories: Iterable[UserHistory],
    items: Items,
    config: ProfilesConfig,
    store: ProfileStore,
    settings: LanguageModelSettings,
    progress: Progress,
) -> ProfilesReport:
    total = len(histories) if isinstance(histories, Sized) else None
    report = ProfilesReport(backend_name(config, settings))
    catalogue = open_catalogue(items, config)
    backend = open_backend(config, settings)

    try:
        checker = FaithfulnessChecker(catalogue.vocabulary)
        writer = ProfileWriter(
            config, store, backend, catalogue, checker, report, progress, total, config.spending.check,
            # rules read the structured history, not the prompt
            population=None if is_by_rule(backend.model) else count_population(histories, catalogue),
        )  # fmt: skip
        report.keys = writer.final_keys()
        for chunk in batches(histories, config.chunk_users):
            writer.write_chunk(truncate_histories(chunk, config.history_share))
    finally:
        backend.close()
    report.stop_if_too_many_failed(config.max_failed, final=True)
    return report
