"""How old a profile is: measured by what its user did since it was written, not by the calendar alone.

The history that a profile saw is the beginning of the one that is known now, so neither vectors nor copies of old
histories have to be kept: both states are computed from the present one.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import exp, sqrt

from retort.offline.common.chunking import batches
from retort.offline.profiles.facets import facets
from retort.offline.profiles.history import Catalogue, UserHistory
from retort.offline.profiles.item_facts import Facts
from retort.offline.profiles.store import Latest, ProfileKey, ProfileStore

_READ_AT_ONCE = 4096
# A drift of this size counts like a history that grew by its own length.
_WHOLE_DRIFT = 0.25


@dataclass(frozen=True)
class Age:
    """One user. n_new: events since the profile, all of them where there is none; drift: 0 … 1, by cosine.

    worth: how much a new profile is expected to be worth, for ordering users; no unit.
    """

    history: UserHistory
    latest: Latest | None
    n_new: int
    drift: float

    @property
    def n_events(self) -> int:
        """Length of the history now."""
        return len(self.history.item_ids)

    @property
    def priority(self) -> float:
        """What changed, times how active the user is: who comes often sees a better profile often."""
        if self.latest is None:
            return 1.0 * _activity(self.n_events)
        grown = self.n_new / max(1, self.n_events - self.n_new)
        return (1.0 - exp(-grown - self.drift / _WHOLE_DRIFT)) * _activity(self.n_events)

    def days(self, at: datetime) -> float:
        """Since the profile was written; infinite where there is none."""
        return (at - self.latest.created_at).total_seconds() / 86_400 if self.latest else float("inf")


def _activity(n_events: int) -> float:
    """Grows with the history, ever more slowly: after some events the clicks themselves say most of it."""
    return n_events / (n_events + 10.0)


def ages(
    histories: Iterable[UserHistory],
    catalogue: Catalogue,
    store: ProfileStore,
    key: ProfileKey,
    *,
    any_model: bool = False,
    chosen: bool = False,
) -> Iterator[Age]:
    """Everybody's age under one question; people who decided for themselves are left out unless `chosen`."""
    for some in batches(histories, _READ_AT_ONCE):
        user_ids = [history.user_id for history in some]
        latest = store.latest(key, user_ids, any_model=any_model)
        theirs = {} if chosen else store.choices(user_ids)
        for history in some:
            if history.user_id not in theirs:
                yield _age(history, latest.get(history.user_id), catalogue)


def _age(history: UserHistory, latest: Latest | None, catalogue: Catalogue) -> Age:
    if latest is None or latest.n_events is None:
        return Age(history, latest, len(history.item_ids), 1.0)
    n_new = max(0, len(history.item_ids) - latest.n_events)
    if not n_new:
        return Age(history, latest, 0, 0.0)
    facts = [catalogue.facts(item_id) for item_id in history.item_ids]
    return Age(history, latest, n_new, drift(facts[: latest.n_events], facts))


def drift(before: Sequence[Facts | None], now: Sequence[Facts | None]) -> float:
    """1 - cosine between the categories of two stretches; 0 where nothing is known of either."""
    first, second = _profile(before), _profile(now)
    if not first or not second:
        return 0.0
    shared = sum(count * second[key] for key, count in first.items())
    return max(0.0, 1.0 - shared / (_length(first) * _length(second)))


def _profile(all_facts: Iterable[Facts | None]) -> Counter[tuple[str, str]]:
    return Counter(facet for facts in all_facts if facts is not None for facet in facets(facts))


def _length(counts: Counter[tuple[str, str]]) -> float:
    return sqrt(sum(count * count for count in counts.values()))
