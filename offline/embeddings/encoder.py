"""Texts to vectors: each distinct text once, several models side by side, what is known from a cache."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from retort.offline.common.progress import Progress
from retort.offline.data.interactions import Items
from retort.offline.embeddings.embedding_cache import EmbeddingCache
from retort.offline.embeddings.encoder_config import EncoderConfig, Role, prefix_for
from retort.offline.embeddings.text_model import TextModel
from retort.offline.embeddings.tfidf import TFIDF, tfidf_vectors
from retort.offline.embeddings.vectors import FloatArray, Vectors, normalize_rows
from retort.offline.embeddings.windows import LongTexts
from retort.shared.base.errors import ProfileError
from retort.shared.base.hashing import hash_json


@dataclass(frozen=True)
class EncodingReport:
    """n_texts were asked for, n_distinct differ, n_cached were known; n_cut were longer than one window."""

    n_texts: int
    n_distinct: int
    n_cached: int
    n_cut: int
    n_windows: int
    width: int
    seconds: float

    def line(self, long_texts: LongTexts) -> str:
        """One line for a person."""
        rate = (self.n_distinct - self.n_cached) / self.seconds if self.seconds else 0.0
        how = f"read in windows, {self.n_windows} for all" if long_texts == "chunk_mean" else "cut short"
        cut = f"{self.n_cut} ({how})"
        return (
            f"{self.n_texts} texts ({self.n_distinct} distinct, {self.n_cached} known) encoded, {self.width} wide, "
            f"{rate:.0f} texts/s, longer than the model reads: {cut if self.n_cut else 'none'}"
        )


@dataclass(frozen=True)
class Encoded:
    """vectors (N, E) float32 of length 1, in the order of the texts."""

    vectors: FloatArray
    report: EncodingReport


def encode_texts(
    texts: Sequence[str],
    config: EncoderConfig,
    progress: Progress,
    role: Role = "query",
    cache_path: Path | None = None,
) -> Encoded:
    """Encode each distinct text once. With a cache (a file), only texts it does not know; a killed run continues.

    role: which of E5's two prefixes; users are queries, items passages. Raises ProfileError for an empty text.
    """
    if len(set(config.models)) < len(config.models):
        raise ProfileError(f"[encoder] model = {config.model!r} names a model twice, or none; name each once.")
    each = [
        _encoded(texts, config.model_copy(update={"model": model}), progress, role, cache_path)
        for model in config.models
    ]
    if len(each) == 1:
        return each[0]
    width = sum(one.report.width for one in each)
    seconds = sum(one.report.seconds for one in each)
    return Encoded(
        concatenate_normalized([one.vectors for one in each]), replace(each[0].report, width=width, seconds=seconds)
    )


def concatenate_normalized(vectors: Sequence[FloatArray]) -> FloatArray:
    """(N, sum of widths): rows of length 1 from rows of length 1, each kind with the same weight."""
    joined: FloatArray = (np.concatenate(vectors, axis=1) / math.sqrt(len(vectors))).astype(np.float32)
    return joined


def _encoded(
    texts: Sequence[str], config: EncoderConfig, progress: Progress, role: Role, cache_path: Path | None
) -> Encoded:
    """By one model."""
    started_s = time.monotonic()
    if empty := [row for row, text in enumerate(texts) if not text.strip()]:
        raise ProfileError(f"{len(empty)} of {len(texts)} texts to encode are empty (the first is number {empty[0]}).")
    distinct = list(dict.fromkeys(texts))
    if config.model == TFIDF and texts:
        return _counted(texts, distinct, progress)
    prefix = prefix_for(config, role)
    with EmbeddingCache(cache_path, _space(config, prefix)) as cache:
        known = cache.find(distinct)
        missing = [text for text in distinct if text not in known]
        n_cut = n_windows = 0
        if missing:
            encoder = TextModel(config, prefix)
            windows = encoder.windows(missing)
            n_cut, n_windows = windows.n_cut, len(windows.texts)
            known |= encoder.encode(missing, windows, cache, progress)
    width = len(next(iter(known.values()))) if known else 0
    vectors = np.stack([known[text] for text in texts]) if texts else np.empty((0, 0), np.float32)
    seconds = time.monotonic() - started_s
    n_cached = len(distinct) - len(missing)
    report = EncodingReport(len(texts), len(distinct), n_cached, n_cut, n_windows, width, seconds)
    progress.say(report.line(config.long_texts))
    return Encoded(vectors, report)


def _counted(texts: Sequence[str], distinct: list[str], progress: Progress) -> Encoded:
    """The control without a model; it is quick enough to need no cache."""
    started_s = time.monotonic()
    vectors = tfidf_vectors(distinct)
    place = {text: row for row, text in enumerate(distinct)}
    seconds = time.monotonic() - started_s
    report = EncodingReport(len(texts), len(distinct), 0, 0, len(distinct), vectors.shape[1], seconds)
    progress.say(f"these vectors know no language model: {TFIDF}")
    progress.say(report.line("truncate"))
    return Encoded(vectors[[place[text] for text in texts]], report)


def encode_profiles(
    table: pl.DataFrame, config: EncoderConfig, progress: Progress, cache_path: Path | None = None
) -> Vectors:
    """One vector a user from `profiles_table` (user_id, aspect, text); several aspects are averaged or concatenated.

    Under `apart` they stand side by side, by the aspects' names, and remain as many vectors of length 1. A user who
    lacks an aspect is left out under `concat` and `apart`, and averaged over the others under `mean`.
    """
    if not len(table):
        raise ProfileError("there is no profile to encode; see what the profiles step reported.")
    encoded = encode_texts(table["text"].to_list(), config, progress, "query", cache_path)
    aspects = sorted(table["aspect"].unique().to_list())
    rows: dict[str, dict[str, int]] = {}
    for row, (user_id, aspect) in enumerate(table.select("user_id", "aspect").iter_rows()):
        rows.setdefault(user_id, {})[aspect] = row
    if config.aspects != "mean":
        rows = {user_id: of_user for user_id, of_user in rows.items() if len(of_user) == len(aspects)}
        if not rows:
            raise ProfileError(f"no user has all of the aspects {', '.join(aspects)}; use [encoder] aspects = 'mean'.")
        joined = [np.concatenate([encoded.vectors[of_user[name]] for name in aspects]) for of_user in rows.values()]
    else:
        joined = [encoded.vectors[list(of_user.values())].mean(axis=0) for of_user in rows.values()]
    vectors = np.stack(joined).astype(np.float32)
    if config.aspects == "apart":
        return Vectors(list(rows), vectors, parts=len(aspects))
    return Vectors(list(rows), normalize_rows(vectors))


def encode_items(items: Items, config: EncoderConfig, progress: Progress, cache_path: Path | None = None) -> Vectors:
    """One vector an item, of its title and text; items that have neither get none, and are counted aloud."""
    titled = items.frame.select(
        "item_id", text=pl.concat_str("title", "text", separator=". ", ignore_nulls=True).str.strip_chars(" .")
    )
    with_text = titled.filter(pl.col("text") != "")
    if lacking := len(titled) - len(with_text):
        progress.say(f"{lacking} of {len(titled)} items have neither title nor text, and so get no vector")
    if not len(with_text):
        raise ProfileError("no item has a title or a text to encode; name their columns in [data].")
    encoded = encode_texts(with_text["text"].to_list(), config, progress, "passage", cache_path)
    return Vectors(with_text["item_id"].to_list(), encoded.vectors)


def _space(config: EncoderConfig, prefix: str) -> str:
    """Everything that changes a vector beside its text."""
    return hash_json([config.model, config.revision, prefix, config.long_texts, config.max_tokens])
