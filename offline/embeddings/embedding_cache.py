"""Embedding cache: vectors by the hash of their text, so that a model encodes each text once."""

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from retort.offline.common.chunking import batches
from retort.offline.embeddings.vectors import FloatArray
from retort.shared.base.errors import ProfileError

_AT_ONCE = 500


class EmbeddingCache:
    """Cache in a SQLite file, consistent even if the process is killed; without a path it stores nothing."""

    def __init__(self, path: Path | None, namespace: str) -> None:
        """Prepare the cache; it is opened as a context manager.

        Args:
            path: File of the cache; None: no cache.
            namespace: Identifies model and settings; vectors of different namespaces never mix.
        """
        self._path, self._namespace = path, namespace
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> "EmbeddingCache":
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._connection = sqlite3.connect(self._path, timeout=30.0)
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute(
                    "CREATE TABLE IF NOT EXISTS vectors (space TEXT, digest BLOB, vector BLOB, "
                    "PRIMARY KEY (space, digest)) WITHOUT ROWID"
                )
            except sqlite3.DatabaseError as error:
                raise ProfileError(
                    f"{self._path} is not an embedding cache ({error}); delete it, or name another file."
                ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self._connection.close()

    def find(self, texts: Sequence[str]) -> dict[str, FloatArray]:
        """Return the vectors of the texts that are stored."""
        if self._connection is None:
            return {}
        found: dict[str, FloatArray] = {}
        for chunk in batches(texts, _AT_ONCE):
            by_digest = {_digest(text): text for text in chunk}
            placeholders = ", ".join("?" * len(by_digest))
            query = f"SELECT digest, vector FROM vectors WHERE space = ? AND digest IN ({placeholders})"  # noqa: S608
            for digest, vector in self._connection.execute(query, (self._namespace, *by_digest)):
                found[by_digest[digest]] = np.frombuffer(vector, dtype=np.float32)
        return found

    def keep(self, vectors: Mapping[str, FloatArray]) -> None:
        """Store vectors by text, in one transaction."""
        if self._connection is None:
            return
        rows = [(self._namespace, _digest(text), vector.tobytes()) for text, vector in vectors.items()]
        with self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
