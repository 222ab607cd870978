"""Staleness of profiles: how much a user's history has changed since the profile was written.

The history that a profile was written from is the beginning of the present history. Both states are therefore computed
from the present history, and no vectors or copies of old histories are stored.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import exp, sqrt

from retort.offline.common.chunking import batches
from retort.offline.profiles.history import Catalogue, UserHistory
from retort.offline.profiles.item_facts import Facts
from retort.offline.profiles.store import Latest, ProfileKey, ProfileStore

_USERS_PER_QUERY = 4096
# A drift of this size has the same weight as a history that grew by its own length.
_FULL_DRIFT = 0.25


@dataclass(frozen=True)
class Staleness:
    """Staleness of one user's profile.

    n_new: events since the profile, or all events if there is no profile. drift: 0 to 1, from the cosine of categories.
    """

    history: UserHistory
    latest: Latest | None
    n_new: int
    drift: float

    @property
    def n_events(self) -> int:
        """Length of the present history."""
        return len(self.history.item_ids)

    @property
    def priority(self) -> float:
        """Expected value of a new profile, without unit: the change of the history times the activity of the user.

        Active users see the effect of a better profile more often.
        """
        if self.latest is None:
            return 1.0 * _activity(self.n_events)
        grown = self.n_new / max(1, self.n_events - self.n_new)
        return (1.0 - exp(-grown - self.drift / _FULL_DRIFT)) * _activity(self.n_events)

    def days(self, at: datetime) -> float:
        """Return the age of the profile in days; infinite if there is no profile."""
        return (at - self.latest.created_at).total_seconds() / 86_400 if self.latest else float("inf")


def _activity(n_events: int) -> float:
    """Grow with the history, ever more slowly: a long history itself says most of what a profile adds."""
    return n_events / (n_events + 10.0)


def measure_staleness(
    histories: Iterable[UserHistory],
    catalogue: Catalogue,
    store: ProfileStore,
    key: ProfileKey,
    *,
    any_model: bool = False,
    include_chosen: bool = False,
) -> Iterator[Staleness]:
    """Measure the staleness of all users' profiles under one key.

    Users who edited, pinned or erased their profile are left out unless `include_chosen`.
    """
    for batch in batches(histories, _USERS_PER_QUERY):
        user_ids = [history.user_id for history in batch]
        latest = store.latest(key, user_ids, any_model=any_model)
        choices = {} if include_chosen else store.choices(user_ids)
        for history in batch:
            if history.user_id not in choices:
                yield _staleness(history, latest.get(history.user_id), catalogue)


def _staleness(history: UserHistory, latest: Latest | None, catalogue: Catalogue) -> Staleness:
    if latest is None or latest.n_events is None:
        return Staleness(history, latest, len(history.item_ids), 1.0)
    n_new = max(0, len(history.item_ids) - latest.n_events)
    if not n_new:
        return Staleness(history, latest, 0, 0.0)
    facts = [catalogue.facts(item_id) for item_id in history.item_ids]
    return Staleness(history, latest, n_new, drift(facts[: latest.n_events], facts))


def drift(before: Sequence[Facts | None], now: Sequence[Facts | None]) -> float:
    """Return 1 - cosine between the category counts of two histories; 0 if either has no known category."""
    first, second = _category_counts(before), _category_counts(now)
    if not first or not second:
        return 0.0
    shared = sum(count * second[key] for key, count in first.items())
    return max(0.0, 1.0 - shared / (_length(first) * _length(second)))


def _category_counts(all_facts: Iterable[Facts | None]) -> Counter[tuple[str, str]]:
    return Counter(facet for facts in all_facts if facts is not None for facet in facts.facets)


def _length(counts: Counter[tuple[str, str]]) -> float:
    return sqrt(sum(count * count for count in counts.values()))
