"""Item ids of stored histories: members of the sorted sets, decoded once for each content."""

from collections.abc import Sequence
from functools import lru_cache

from retort.shared.history.store import EVENT_HASH_LENGTH, SEPARATOR

_SEPARATOR = SEPARATOR.encode()
# Decoded histories of this process: some 20 MB of usual ones, 80 MB at most.
_REMEMBERED_HISTORIES, _REMEMBERED_BYTES = 4_096, 8_192


class StoredHistory(list[str]):
    """Item ids of one content of a history; readers share it, so nobody may change it. Hashed by identity."""

    __slots__ = ()
    __hash__ = object.__hash__  # type: ignore[assignment]


def read_item_ids(members: Sequence[bytes]) -> list[str]:
    """The item ids of stored members; an unchanged history is not decoded again and yields the same object."""
    joined = _SEPARATOR.join(members)
    decode = _decode if len(joined) > _REMEMBERED_BYTES else _decode_once
    item_ids = decode(joined, len(members))
    if item_ids is None:  # an id contains a separator
        return [member.rpartition(_SEPARATOR)[0].decode() for member in members]
    return item_ids


def _decode(joined: bytes, n_members: int) -> StoredHistory | None:
    """Decode members all at once: splitting each member would cost as much as reading them."""
    parts = joined.decode().split(SEPARATOR) if joined else []
    if len(parts) == 2 * n_members and set(map(len, parts[1::2])) <= {EVENT_HASH_LENGTH}:
        return StoredHistory(parts[::2])
    return None


# The key is the whole stored content, so an entry cannot be out of date.
_decode_once = lru_cache(_REMEMBERED_HISTORIES)(_decode)
