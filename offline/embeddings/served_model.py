"""Served text model: vectors from an OpenAI-compatible embeddings server (TEI, vLLM, Infinity, hosted services).

API: https://platform.openai.com/docs/api-reference/embeddings
"""

import asyncio
import random
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from retort.offline.common.chunking import batches
from retort.offline.common.http_errors import RETRIED, error_text, retry_after_s
from retort.offline.embeddings.embedding_replies import parse_embeddings
from retort.offline.embeddings.encoder_config import PACKAGED, SERVED, EncoderConfig
from retort.offline.embeddings.text_model import TextModel, check_hub_encoder
from retort.offline.embeddings.tfidf import TFIDF
from retort.offline.embeddings.vectors import FloatArray, normalize_rows
from retort.offline.embeddings.windows import Windows, cut_windows
from retort.shared.base.errors import ProfileError
from retort.shared.base.settings import EmbeddingSettings, LanguageModelSettings

if TYPE_CHECKING:
    import httpx  # at run time it is imported by the requests alone: most recipes use no server

# A high estimate of tokens: three letters or digits, or one character of another script.
_PIECE = re.compile(r"[!-~]{1,3}|[^\s!-~]")
_SPECIAL_TOKENS = 2
_SPLIT = frozenset({400, 413, 422})  # the batch may be too large for the server


def open_text_model(config: EncoderConfig, prefix: str) -> TextModel:
    """Open the model of the recipe, here or at its server."""
    return ServedModel(config, prefix) if config.model.startswith(SERVED) else TextModel(config, prefix)


def check_encoder(config: EncoderConfig, models: Iterable[str] | None = None) -> None:
    """Check that models of an encoder can be had, before anything that takes long; a served one encodes one word.

    Args:
        models: Names of the models; None: those of texts and of the items' views.

    Raises:
        ProfileError: One cannot.
    """
    for name in dict.fromkeys((*config.models, *config.item_models) if models is None else models):
        of_model = config.model_copy(update={"model": name})
        if name.startswith(SERVED):
            ServedModel(of_model, "").check()
        elif name not in (PACKAGED, TFIDF) and not Path(name).expanduser().is_dir():
            check_hub_encoder(of_model)


class _BusyError(Exception):
    """No usable response; another attempt may succeed, after `wait_s` seconds at the earliest."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class ServedModel(TextModel):
    """A model at a server. The prefix is added here, once; the server must not add it again."""

    def __init__(self, config: EncoderConfig, prefix: str) -> None:
        """Read the server's address; raises ProfileError where none is set."""
        self._config, self._prefix = config, prefix
        self._name = config.model.removeprefix(SERVED)
        if not self._name:
            raise ProfileError('[encoder] model = "served:" lacks the model\'s name; write "served:NAME".')
        self._url, self._headers = _server()

    def check(self) -> None:
        """Encode one word; raises ProfileError if the server is down or does not know the model."""
        self._raw(["word"])

    def windows(self, texts: Sequence[str]) -> Windows:
        """Cut texts by an estimate of their tokens where `max_tokens` is set; else the server reads each text whole."""
        limit = self._config.max_tokens
        if limit is None:
            return Windows(list(texts), list(range(len(texts))), [len(text) for text in texts], n_cut=0)
        room = limit - len(_PIECE.findall(self._prefix)) - _SPECIAL_TOKENS
        if room < 4:
            raise ProfileError(f"[encoder] max_tokens leaves only {room} tokens for text after the prefix; raise it.")
        return cut_windows(texts, _estimate_tokens, room, self._config.long_texts)

    def _raw(self, parts: Sequence[str]) -> FloatArray:
        return asyncio.run(self._encode_all([self._prefix + part for part in parts]))

    async def _encode_all(self, texts: Sequence[str]) -> FloatArray:
        import httpx

        semaphore = asyncio.Semaphore(self._config.server.concurrency)
        async with httpx.AsyncClient(headers=self._headers) as client:

            async def encode(batch: Sequence[str]) -> FloatArray:
                async with semaphore:
                    return await self._encode(client, batch)

            tasks = [asyncio.ensure_future(encode(batch)) for batch in batches(texts, self._config.batch_size)]
            try:
                found = [await task for task in tasks]
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        widths = sorted({vectors.shape[1] for vectors in found})
        if len(widths) > 1:
            raise ProfileError(
                f"{self._url} returned vectors of {widths[0]} and of {widths[-1]} numbers for the model "
                f"{self._name!r}; it must serve one model."
            )
        return normalize_rows(np.concatenate(found))

    async def _encode(self, client: "httpx.AsyncClient", texts: Sequence[str]) -> FloatArray:
        """Encode one batch, with retries; a batch that is too large for the server is halved."""
        server, reason = self._config.server, ""
        for attempt in range(server.retries + 1):
            try:
                response = await self._post(client, texts)
                if response.status_code in _SPLIT and len(texts) > 1:
                    half = len(texts) // 2
                    parts = [await self._encode(client, part) for part in (texts[:half], texts[half:])]
                    return np.concatenate(parts)
                return self._read(response, len(texts))
            except _BusyError as error:
                reason = str(error)
                if attempt < server.retries:
                    wait_s = max(server.backoff_s * 2.0**attempt * random.uniform(0.5, 1.0), error.wait_s or 0.0)
                    await asyncio.sleep(min(wait_s, server.max_wait_s))
        raise ProfileError(
            f"the embeddings server {self._url} gave no vectors ({reason}, after {server.retries + 1} attempts); check "
            "that it runs and that EMBEDDINGS_BASE_URL is its address, then run again: finished texts are kept."
        )

    async def _post(self, client: "httpx.AsyncClient", texts: Sequence[str]) -> "httpx.Response":
        import httpx

        from retort.offline.common.http import ResponseTooLargeError, request_async

        server = self._config.server
        body: dict[str, Any] = {"model": self._name, "input": list(texts), "encoding_format": "float"}
        if server.dimensions is not None:
            body["dimensions"] = server.dimensions
        try:
            url = f"{self._url}/embeddings"
            return await request_async(client, "POST", url, json=body, deadline_s=server.timeout_s)
        except httpx.TimeoutException:
            raise _BusyError(f"no answer within {server.timeout_s:g} s") from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise ProfileError(
                f"EMBEDDINGS_BASE_URL {self._url!r} is not a valid URL; set it to one such as http://127.0.0.1:8002/v1."
            ) from None
        except ResponseTooLargeError as error:
            raise ProfileError(f"{self._url}: {error}; lower [encoder] batch_size.") from None
        except httpx.HTTPError as error:
            raise _BusyError(f"it cannot be reached ({error})") from None

    def _read(self, response: "httpx.Response", n_texts: int) -> FloatArray:
        status = response.status_code
        if status in RETRIED:
            raise _BusyError(f"{status}: {error_text(response)}", retry_after_s(response))
        if status in (401, 403):
            raise ProfileError(f"{self._url} rejects the API key ({status}); set EMBEDDINGS_API_KEY to a valid one.")
        if status >= 300 and status not in _SPLIT:
            raise ProfileError(
                f"{self._url} has no embeddings of the model {self._name!r} ({status}: {error_text(response)}); check "
                "EMBEDDINGS_BASE_URL (it usually ends in /v1) and [encoder] model."
            )
        if status >= 300:
            raise ProfileError(
                f"{self._url} rejected a text ({status}: {error_text(response)}); if it is too long, set [encoder] "
                "max_tokens to what the model reads."
            )
        try:
            vectors = parse_embeddings(response, n_texts)
        except ValueError as error:
            raise _BusyError(str(error)) from None
        expected = self._config.server.dimensions
        if expected is not None and vectors.shape[1] != expected:
            raise ProfileError(
                f"{self._url} returned vectors of {vectors.shape[1]} numbers, but [encoder.server] dimensions is "
                f"{expected}; remove the key, or serve a model that can be cut."
            )
        return vectors


def _server() -> tuple[str, dict[str, str]]:
    """Address and headers; the key of one server is never sent to the other."""
    own, general = EmbeddingSettings(), LanguageModelSettings()
    url, key = own.embeddings_base_url, own.embeddings_api_key
    if url is None:
        url, key = general.openai_base_url, key or general.openai_api_key
    if url is None:
        raise ProfileError("[encoder] model names a served model; set EMBEDDINGS_BASE_URL to its server's address.")
    return url.rstrip("/"), {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}


def _estimate_tokens(texts: Sequence[str], **_: Any) -> dict[str, list[list[tuple[int, int]]]]:
    """Estimated tokens in the form of a tokenizer's offsets."""
    return {"offset_mapping": [[found.span() for found in _PIECE.finditer(text)] for text in texts]}
