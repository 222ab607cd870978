"""Text encoder: texts to vectors, each distinct text once, from one or several models, with a cache."""

import math
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from retort.offline.common.progress import Progress
from retort.offline.embeddings.embedding_cache import EmbeddingCache
from retort.offline.embeddings.encoder_config import EncoderConfig, Role, prefix_for
from retort.offline.embeddings.served_model import open_text_model
from retort.offline.embeddings.text_model import is_plain_folder
from retort.offline.embeddings.tfidf import TFIDF, tfidf_vectors
from retort.offline.embeddings.vectors import FloatArray, Vectors, normalize_rows, refuse_one_vector
from retort.offline.embeddings.windows import LongTexts
from retort.shared.base.errors import ProfileError
from retort.shared.base.hashing import hash_json


@dataclass(frozen=True)
class EncodingReport:
    """Counts of one encoding.

    Attributes:
        n_texts: Texts to encode.
        n_distinct: Distinct texts among them.
        n_cached: Distinct texts found in the cache.
        n_cut: Texts longer than one window.
        n_windows: Windows that were encoded.
        width: Width of the vectors.
    """

    n_texts: int
    n_distinct: int
    n_cached: int
    n_cut: int
    n_windows: int
    width: int
    seconds: float

    def line(self, long_texts: LongTexts) -> str:
        """Return the report as one line of text."""
        rate = (self.n_distinct - self.n_cached) / self.seconds if self.seconds else 0.0
        how = f"split into {self.n_windows} windows" if long_texts == "chunk_mean" else "truncated"
        cut = f"{self.n_cut} ({how})"
        return (
            f"{self.n_texts} texts ({self.n_distinct} distinct, {self.n_cached} cached) encoded, width {self.width}, "
            f"{rate:.0f} texts/s, longer than the model reads: {cut if self.n_cut else 'none'}"
        )


@dataclass(frozen=True)
class Encoded:
    """Encoded texts: vectors (N, E) float32 of length 1, in the order of the texts."""

    vectors: FloatArray
    report: EncodingReport


def encode_texts(
    texts: Sequence[str],
    config: EncoderConfig,
    progress: Progress,
    role: Role = "query",
    cache_path: Path | None = None,
) -> Encoded:
    """Encode each distinct text once.

    Args:
        role: Which of E5's two prefixes to use: users are queries, items are passages.
        cache_path: Cache file; texts in it are not encoded again, so that an interrupted run continues.

    Raises:
        ProfileError: A text is empty, or a model is named twice.
    """
    if len(set(config.models)) < len(config.models):
        raise ProfileError(
            f"[encoder] model = {config.model!r} names a model twice, or an empty one; name each model once."
        )
    by_model = [
        _encode_with_model(texts, config.model_copy(update={"model": model}), progress, role, cache_path)
        for model in config.models
    ]
    if len(by_model) == 1:
        return by_model[0]
    width = sum(encoded.report.width for encoded in by_model)
    seconds = sum(encoded.report.seconds for encoded in by_model)
    return Encoded(
        concatenate_normalized([encoded.vectors for encoded in by_model]),
        replace(by_model[0].report, width=width, seconds=seconds),
    )


def concatenate_normalized(vectors: Sequence[FloatArray]) -> FloatArray:
    """Concatenate rows of length 1 to rows of length 1, each part with the same weight: (N, sum of widths)."""
    joined: FloatArray = (np.concatenate(vectors, axis=1) / math.sqrt(len(vectors))).astype(np.float32)
    return joined


def _encode_with_model(
    texts: Sequence[str], config: EncoderConfig, progress: Progress, role: Role, cache_path: Path | None
) -> Encoded:
    """Encode with a single model."""
    started_s = time.monotonic()
    if empty := [row for row, text in enumerate(texts) if not text.strip()]:
        raise ProfileError(
            f"{len(empty)} of {len(texts)} texts to encode are empty (the first at position {empty[0]}); remove them."
        )
    distinct = list(dict.fromkeys(texts))
    if config.model == TFIDF and texts:
        return _encode_with_tfidf(texts, distinct, progress)
    prefix = prefix_for(config, role)
    with EmbeddingCache(cache_path, _namespace(config, prefix)) as cache:
        known = cache.find(distinct)
        missing = [text for text in distinct if text not in known]
        n_cut = n_windows = 0
        if missing:
            encoder = open_text_model(config, prefix)
            windows = encoder.windows(missing)
            n_cut, n_windows = windows.n_cut, len(windows.texts)
            known |= encoder.encode(missing, windows, cache, progress)
    width = _common_width(known.values(), config.model)
    vectors = np.stack([known[text] for text in texts]) if texts else np.empty((0, 0), np.float32)
    seconds = time.monotonic() - started_s
    n_cached = len(distinct) - len(missing)
    report = EncodingReport(len(texts), len(distinct), n_cached, n_cut, n_windows, width, seconds)
    progress.say(report.line(config.long_texts))
    return Encoded(vectors, report)


def _encode_with_tfidf(texts: Sequence[str], distinct: list[str], progress: Progress) -> Encoded:
    """Encode with the baseline without a model; it is fast enough to need no cache."""
    started_s = time.monotonic()
    vectors = tfidf_vectors(distinct)
    place = {text: row for row, text in enumerate(distinct)}
    seconds = time.monotonic() - started_s
    report = EncodingReport(len(texts), len(distinct), 0, 0, len(distinct), vectors.shape[1], seconds)
    progress.say(f"these vectors use no language model: {TFIDF}")
    progress.say(report.line("truncate"))
    return Encoded(vectors[[place[text] for text in texts]], report)


def encode_profiles(
    table: pl.DataFrame, config: EncoderConfig, progress: Progress, cache_path: Path | None = None
) -> Vectors:
    """Encode a `profiles_table` (user_id, aspect, text) to one vector for each user.

    Several aspects are averaged (`mean`), concatenated (`concat`), or kept as separate vectors of length 1 next to each
    other, in the order of their names (`apart`). A user who lacks an aspect is left out under `concat` and `apart`, and
    averaged over the others under `mean`.

    Raises:
        ProfileError: There is no profile, or no user has all aspects.
    """
    if not len(table):
        raise ProfileError("there is no profile to encode; read the report of the profiles step.")
    encoded = encode_texts(table["text"].to_list(), config, progress, "query", cache_path)
    aspects = sorted(table["aspect"].unique().to_list())
    rows: dict[str, dict[str, int]] = {}
    for row, (user_id, aspect) in enumerate(table.select("user_id", "aspect").iter_rows()):
        rows.setdefault(user_id, {})[aspect] = row
    if config.aspects != "mean":
        rows = {user_id: of_user for user_id, of_user in rows.items() if len(of_user) == len(aspects)}
        if not rows:
            raise ProfileError(f"no user has all of the aspects {', '.join(aspects)}; use [encoder] aspects = 'mean'.")
        user_vectors = [
            np.concatenate([encoded.vectors[of_user[name]] for name in aspects]) for of_user in rows.values()
        ]
    else:
        user_vectors = [encoded.vectors[list(of_user.values())].mean(axis=0) for of_user in rows.values()]
    vectors = np.stack(user_vectors).astype(np.float32)
    n_distinct = len({vector.tobytes() for vector in vectors})
    refuse_one_vector(len(vectors), n_distinct)
    progress.say(f"{len(vectors)} users have {n_distinct} distinct vectors")
    if config.aspects == "apart":
        return Vectors(list(rows), vectors, parts=len(aspects))
    return Vectors(list(rows), normalize_rows(vectors))


def _common_width(vectors: Collection[FloatArray], model: str) -> int:
    """Width of all vectors; an embeddings server may have changed its model while the cache was filled."""
    widths = sorted({len(vector) for vector in vectors})
    if len(widths) > 1:
        raise ProfileError(
            f"the text encoder {model!r} returned vectors of {widths[0]} and of {widths[-1]} numbers, so it is not one "
            "model; check the server, and start the step anew with another --out."
        )
    return widths[0] if widths else 0


def _namespace(config: EncoderConfig, prefix: str) -> str:
    """Everything besides the text that changes a vector."""
    dimensions = [] if config.server.dimensions is None else [config.server.dimensions]
    pooling = ["mean"] if is_plain_folder(config.model) else []  # vectors of the last token may be in the cache
    return hash_json(
        [config.model, config.revision, prefix, config.long_texts, config.max_tokens, *dimensions, *pooling]
    )
