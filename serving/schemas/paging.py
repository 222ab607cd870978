"""`next` tokens: more without repeats, and nothing to remember on the server.

A token holds a short hash of each item that was shown. It survives a change of the bundle, and whoever tampers with it
hides items from nobody but himself.
"""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from retort.serving.schemas.problems import Problem
from retort.shared.model.sequences import IntArray

MAX_SHOWN = 2000
MAX_TOKEN = 4 * ((MAX_SHOWN * 4 + 1) // 3 + 1)
_HASH_BYTES = 4
_VERSION = b"\x01"

Hashes = NDArray[np.uint32]


@dataclass(frozen=True)
class HashTable:
    """Items by hash, for one bundle."""

    hashes: Hashes  # sorted
    items: IntArray

    def items_of(self, shown: Hashes) -> IntArray:
        """Indexes of all items with these hashes; two items in 4 billion share one and are then both hidden."""
        left = np.searchsorted(self.hashes, shown, "left")
        right = np.searchsorted(self.hashes, shown, "right")
        found = [self.items[start:end] for start, end in zip(left, right, strict=True) if end > start]
        return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)


def hash_table(ids: list[str]) -> HashTable:
    """`ids` by item index; position 0 is PAD and left out."""
    hashes = np.fromiter((_hash(item_id) for item_id in ids[1:]), dtype=np.uint32, count=len(ids) - 1)
    order = np.argsort(hashes, kind="stable")
    return HashTable(hashes[order], order.astype(np.int64) + 1)


def write_token(shown: Hashes, item_ids: list[str]) -> str | None:
    """The token after these items too; None where the list has become too long to go on."""
    if len(shown) + len(item_ids) > MAX_SHOWN or not item_ids:
        return None
    added = struct.pack(f"<{len(item_ids)}I", *map(_hash, item_ids))
    payload = _VERSION + shown.astype("<u4").tobytes() + added
    return urlsafe_b64encode(payload).decode().rstrip("=")


def read_token(token: str | None) -> Hashes:
    """What the token says was shown; empty without one."""
    if token is None:
        return np.zeros(0, dtype=np.uint32)
    try:
        payload = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except ValueError:
        raise _not_ours() from None
    if payload[:1] != _VERSION or len(payload) % _HASH_BYTES != 1 or len(payload) > 1 + _HASH_BYTES * MAX_SHOWN:
        raise _not_ours()
    return np.frombuffer(payload, dtype="<u4", offset=1).astype(np.uint32)


def _hash(item_id: str) -> int:
    return crc32(item_id.encode())


def _not_ours() -> Problem:
    return Problem(422, "next: this is no token of this server; leave it out to start again.")
