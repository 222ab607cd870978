"""From histories to stored profiles: ask only for what is missing or changed, keep each answer at once."""

import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from retort.offline.common.chunking import batches
from retort.offline.common.progress import Progress
from retort.offline.data.interactions import Items
from retort.offline.profiles.batch_writer import ProfileWriter
from retort.offline.profiles.config import (
    IMPORTED,
    ProfilesConfig,
    backend_name,
    combination_writer,
    open_backend,
    prompt_writers,
)
from retort.offline.profiles.corruption import corrupt_profiles
from retort.offline.profiles.faithfulness import FaithfulnessChecker
from retort.offline.profiles.history import Catalogue, UserHistory
from retort.offline.profiles.imported import import_profiles
from retort.offline.profiles.profile_tasks import ProfileTask, build_tasks, combination_tasks, truncate_histories
from retort.offline.profiles.report import ProfilesReport
from retort.offline.profiles.store import ProfileKey, ProfileStore
from retort.shared.base.errors import RecipeError
from retort.shared.base.hashing import hash_json
from retort.shared.base.settings import LanguageModelSettings
from retort.shared.profiles.profile_choices import Choice

_READ_AT_ONCE = 4096  # users whose texts are read in one go
_SCHEMA = {"user_id": pl.String, "aspect": pl.String, "text": pl.String, "grounding": pl.Float64}


def write_profiles(
    histories: Iterable[UserHistory],
    items: Items,
    config: ProfilesConfig,
    store: ProfileStore,
    settings: LanguageModelSettings,
    progress: Progress,
) -> ProfilesReport:
    """Write what the store lacks. Users without a known item get no profile.

    Raises ProfileError where the model or the file cannot be used; what was answered until then is kept.
    """
    started_s = time.monotonic()
    if config.backend == IMPORTED:
        if config.history_share < 1:
            raise RecipeError("[profiles] history_share wants texts written here; imported ones saw what they saw.")
        report = import_profiles(histories, items, config, store)
    else:
        report = _ask_for_profiles(histories, items, config, store, settings, progress)
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
    """All of `profiles_tables` as one, with the damage that an experiment asks for."""
    tables = profiles_tables(histories, items, config, store, report)
    return corrupt_profiles(pl.concat([pl.DataFrame(schema=_SCHEMA), *tables]), config.damage)


def profiles_tables(
    histories: Iterable[UserHistory],
    items: Items,
    config: ProfilesConfig,
    store: ProfileStore,
    report: ProfilesReport,
) -> Iterator[pl.DataFrame]:
    """The texts for the next step, some users at a time: user_id, aspect, text, grounding (null: unknown).

    One row a user, or one an aspect where none combines them. What people wrote or pinned themselves stands in place of
    the model's text, and counts as wholly grounded; who erased their profile has none.
    """
    catalogue = Catalogue(items, config.attributes, config.item_text_chars)
    for some in batches(histories, _READ_AT_ONCE):
        some = truncate_histories(some, config.history_share)
        wanted = build_tasks(some, catalogue, config.max_history, ProfilesReport(report.backend))
        chosen = store.choices([one.user_id for one in wanted])
        rows = list(_own_words(chosen.values(), report))
        rows += _written([one for one in wanted if one.user_id not in chosen], config, store, report)
        yield pl.DataFrame(rows, schema=_SCHEMA)


def write_profiles_table(path: Path, config: ProfilesConfig, tables: Iterable[pl.DataFrame]) -> None:
    """Write `profiles_tables` as one Parquet file; only damage, which trades texts between users, wants all at once."""
    if config.damage.share:
        tables = [corrupt_profiles(pl.concat([pl.DataFrame(schema=_SCHEMA), *tables]), config.damage)]
    schema = pl.DataFrame(schema=_SCHEMA).to_arrow().schema
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table.to_arrow().cast(schema))


def _own_words(choices: Iterable[Choice], report: ProfilesReport) -> Iterator[dict[str, Any]]:
    for choice in choices:
        if choice.text is not None:
            for aspect in sorted({key.aspect for key in report.keys}):
                yield {"user_id": choice.user_id, "aspect": aspect, "text": choice.text, "grounding": 1.0}


def _written(
    wanted: Sequence[ProfileTask], config: ProfilesConfig, store: ProfileStore, report: ProfilesReport
) -> Iterator[dict[str, Any]]:
    if report.source is not None:
        wanted = [ProfileTask(one.user_id, report.source, ()) for one in wanted]
    elif combination_writer(config) is not None:
        wanted = combination_tasks(wanted, _aspect_keys(config, report), store)
    for key in report.keys:
        yield from _texts(wanted, key, store)


def _texts(wanted: Sequence[ProfileTask], key: ProfileKey, store: ProfileStore) -> Iterator[dict[str, Any]]:
    stored = store.find(key, [one.user_id for one in wanted])
    for one in wanted:
        found = stored.get((one.user_id, one.history_hash))
        if found is not None and found.text is not None:
            values = {"aspect": key.aspect, "text": found.text, "grounding": found.grounding}
            yield {"user_id": one.user_id, **values}


def _aspect_keys(config: ProfilesConfig, report: ProfilesReport) -> list[ProfileKey]:
    model, digest = report.keys[0].model, hash_json(config.parameters)
    return [ProfileKey(writer.aspect, writer.version, model, digest) for writer in prompt_writers(config)]


def _ask_for_profiles(
    histories: Iterable[UserHistory],
    items: Items,
    config: ProfilesConfig,
    store: ProfileStore,
    settings: LanguageModelSettings,
    progress: Progress,
) -> ProfilesReport:
    total = len(histories) if isinstance(histories, Sized) else None
    report = ProfilesReport(backend_name(config, settings))
    catalogue = Catalogue(items, config.attributes, config.item_text_chars)
    backend = open_backend(config, settings)

    def stop_if_spent(report: ProfilesReport) -> None:
        config.spending.stop_if_spent(report.prompt_tokens, report.completion_tokens)

    try:
        checker = FaithfulnessChecker(catalogue.vocabulary)
        writer = ProfileWriter(config, store, backend, catalogue, checker, report, progress, total, stop_if_spent)
        report.keys = writer.final_keys()
        for some in batches(histories, config.chunk_users):
            writer.write_chunk(truncate_histories(some, config.history_share))
    finally:
        backend.close()
    report.stop_if_too_many_failed(config.max_failed, final=True)
    return report
