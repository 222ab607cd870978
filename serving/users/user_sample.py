"""Sample of the users who have a history, for lists that people choose from; it is read anew twice a minute at most."""

import time
from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass

from retort.shared.history.store import HistoryStore, Owner

MAX_USERS = 20_000
KEPT_S = 30.0
# A store with many other keys is not read to its end.
_READ_S = 0.5
_LAST = "\U0010ffff"


@dataclass(frozen=True)
class Users:
    """Users of a sample.

    Attributes:
        user_ids: Those that were looked for, in order.
        known: Number of users in the sample.
        is_complete: Whether the sample holds every user.
    """

    user_ids: list[str]
    known: int
    is_complete: bool


class UserSample:
    """Sorted user ids of each tenant, at most `MAX_USERS`."""

    def __init__(self, store: HistoryStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._read: dict[str, tuple[float, list[str], bool]] = {}

    async def find(self, tenant: str, start: str, limit: int) -> Users:
        """Return users whose ids start with a text; a user outside the sample is found by the whole id.

        Raises:
            StoreError: The store is down.
        """
        user_ids, is_complete = await self._sample(tenant)
        first = bisect_left(user_ids, start)
        found = user_ids[first : bisect_left(user_ids, start + _LAST, first)][:limit]
        if start and not is_complete and start not in found:
            owner = Owner(start, tenant)
            if (await self._store.recent([owner], 1))[0]:
                insort(user_ids, start)
                found = [start, *found][:limit]
        return Users(found, len(user_ids), is_complete)

    def discard(self, owner: Owner) -> None:
        """Remove a user at once; used by erasures."""
        if (sample := self._read.get(owner.tenant)) is not None and owner.id in sample[1]:
            sample[1].remove(owner.id)

    async def _sample(self, tenant: str) -> tuple[list[str], bool]:
        known = self._read.get(tenant)
        if known is not None and self._clock() < known[0] + KEPT_S:
            return known[1:]
        user_ids, is_complete = await self._store.user_ids(tenant, MAX_USERS, _READ_S)
        self._read[tenant] = (self._clock(), sorted(user_ids), is_complete)
        return self._read[tenant][1:]
