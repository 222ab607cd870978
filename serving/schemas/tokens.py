"""Opaque tokens that a response gives and a later request returns: `impression` and `next`.

Both tokens carry their content, so the server stores nothing. Neither is signed: a caller who changes a `next` token
only hides items from itself, and a caller who may write events may write clicks anyway. What an impression names is
checked against the server's own configuration before it becomes a metric label.
"""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from retort.serving.schemas.problems import Problem
from retort.shared.model.sequences import IntArray

# request_id "." source "." variant "~" A/B test. The first two hold no dot and no test's name holds a tilde. Tokens
# issued before the name of the test was added end with the variant.
IMPRESSION_PATTERN = r"^[A-Za-z0-9_-]{1,80}\.[a-z_]{1,32}\.[A-Za-z0-9_.-]{0,64}(~[A-Za-z0-9_.-]{1,64})?$"

MAX_SHOWN = 2000
MAX_NEXT_LENGTH = 4 * ((MAX_SHOWN * 4 + 1) // 3 + 1)
_HASH_BYTES = 4
_VERSION = b"\x01"

Hashes = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Impression:
    """One list that was shown to a caller.

    `variant` is empty outside an A/B test; `experiment` is empty in tokens that do not name the test.
    """

    request_id: str
    source: str
    variant: str = ""
    experiment: str = ""

    @property
    def token(self) -> str:
        suffix = f"~{self.experiment}" if self.experiment else ""
        return f"{self.request_id}.{self.source}.{self.variant}{suffix}"


def read_impression(token: str) -> Impression:
    """Parse a token that matches `IMPRESSION_PATTERN`."""
    request_id, source, rest = token.split(".", 2)
    variant, _, experiment = rest.partition("~")
    return Impression(request_id, source, variant, experiment)


@dataclass(frozen=True)
class HashTable:
    """Items of one bundle, sorted by the 32-bit hash of their id."""

    hashes: Hashes  # sorted
    items: IntArray

    def items_of(self, shown: Hashes) -> IntArray:
        """Return the indices of all items with these hashes; items whose hashes collide are all returned."""
        left = np.searchsorted(self.hashes, shown, "left")
        right = np.searchsorted(self.hashes, shown, "right")
        found = [self.items[start:end] for start, end in zip(left, right, strict=True) if end > start]
        return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)


def build_hash_table(ids: list[str]) -> HashTable:
    """Build the table from item ids by index; index 0 is PAD and is left out."""
    hashes = np.fromiter((_hash(item_id) for item_id in ids[1:]), dtype=np.uint32, count=len(ids) - 1)
    order = np.argsort(hashes, kind="stable")
    return HashTable(hashes[order], order.astype(np.int64) + 1)


def write_next_token(shown: Hashes, item_ids: list[str]) -> str | None:
    """Encode the items shown so far.

    The token holds hashes of ids, so it survives a change of the bundle.

    Args:
        shown: Hashes from the previous token.
        item_ids: Items of this page.

    Returns:
        The token, or None when the page is empty or more than `MAX_SHOWN` items would be listed.
    """
    if len(shown) + len(item_ids) > MAX_SHOWN or not item_ids:
        return None
    added = struct.pack(f"<{len(item_ids)}I", *map(_hash, item_ids))
    payload = _VERSION + shown.astype("<u4").tobytes() + added
    return urlsafe_b64encode(payload).decode().rstrip("=")


def read_next_token(token: str | None) -> Hashes:
    """Decode the hashes of the items shown so far; empty without a token.

    Raises:
        Problem: 422 when the token was not made by `write_next_token`.
    """
    if token is None:
        return np.zeros(0, dtype=np.uint32)
    try:
        payload = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except ValueError:
        raise _invalid_next() from None
    if payload[:1] != _VERSION or len(payload) % _HASH_BYTES != 1 or len(payload) > 1 + _HASH_BYTES * MAX_SHOWN:
        raise _invalid_next()
    return np.frombuffer(payload, dtype="<u4", offset=1).astype(np.uint32)


def _hash(item_id: str) -> int:
    return crc32(item_id.encode())


def _invalid_next() -> Problem:
    return Problem(422, "next: this is not a token of this server; leave it out to start from the first page.")
