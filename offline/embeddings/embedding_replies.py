"""Responses of an embeddings server, well-formed or not."""

import base64
from typing import TYPE_CHECKING, Any

import numpy as np

from retort.offline.embeddings.vectors import FloatArray
from retort.shared.base.text import load_json

if TYPE_CHECKING:
    import httpx


def parse_embeddings(response: "httpx.Response", n_texts: int) -> FloatArray:
    """Parse a 2xx response.

    Returns:
        Vectors (n_texts, E) in the order of the texts.

    Raises:
        ValueError: It does not hold one finite vector for each text; the message says what it holds.
    """
    try:
        body = load_json(response.content)
        rows = [(row.get("index", at), row["embedding"]) for at, row in enumerate(body["data"])]
    except (KeyError, TypeError, AttributeError, ValueError):
        raise ValueError(f"a response that holds no embeddings: {response.text[:120]!r}") from None
    if sorted(index for index, _ in rows if isinstance(index, int)) != list(range(n_texts)):
        raise ValueError(f"{len(rows)} vectors for {n_texts} texts, or indexes that do not count them")
    vectors = [_vector(value) for _, value in sorted(rows, key=lambda row: int(row[0]))]
    if len({len(vector) for vector in vectors}) != 1:
        raise ValueError("vectors of different widths in one response")
    stacked = np.stack(vectors)
    if not np.isfinite(stacked).all() or not np.abs(stacked).max(axis=1).all():
        raise ValueError("a vector with NaN or infinity, or of zeros alone")
    return stacked


def _vector(value: Any) -> FloatArray:
    """One vector: a list of numbers, or base64 of float32, which some servers send unasked."""
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value, validate=True), dtype="<f4").astype(np.float32)
    vector = np.asarray(value, dtype=np.float32)
    if vector.ndim != 1 or not len(vector):
        raise ValueError("an embedding that is not one vector; serve the model with pooling")
    return vector
