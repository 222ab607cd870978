"""Profile tasks: which profiles are to be written, from which events and earlier profiles."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from retort.offline.profiles.history import Catalogue, Event, UserHistory
from retort.offline.profiles.prompt import history_hash
from retort.offline.profiles.report import ProfilesReport
from retort.offline.profiles.store import ProfileKey, ProfileStore
from retort.shared.base.hashing import hash_json


class PriorProfile(NamedTuple):
    """An earlier profile, written from the first `n_covered` events of a history."""

    text: str | None
    n_covered: int


class ProfileTask(NamedTuple):
    """A profile to write: one user, one aspect.

    Attributes:
        parts: aspect → profile to combine; None for a profile that is written from events.
        prior: Earlier profile that the last `n_new` events update; None: the whole history is read.
        n_history: Events of the whole history, including those of unknown items and those beyond `max_history`.
    """

    user_id: str
    history_hash: str
    events: Sequence[Event]
    parts: dict[str, str] | None = None
    prior: str | None = None
    n_new: int = 0
    n_history: int = 0


def build_tasks(
    histories: Iterable[UserHistory],
    catalogue: Catalogue,
    max_history: int | None,
    report: ProfilesReport,
    priors: Mapping[str, PriorProfile] | None = None,
) -> list[ProfileTask]:
    """Build one task for each user with a known item, and count the other users in `report`.

    Args:
        max_history: Latest known events that a profile is written from; None: all.
        report: `users`, `unknown_events` and `without_history` are increased.
        priors: user_id → earlier profile to update.
    """
    tasks = []
    for history in histories:
        report.users += 1
        events, unknown = catalogue.events(history, max_history)
        report.unknown_events += unknown
        if events:
            n_new, prior = 0, (priors or {}).get(history.user_id)
            if prior is not None:
                n_new = min(catalogue.count(history.item_ids[prior.n_covered :]), len(events))
            text = prior.text if prior is not None and 0 < n_new < len(events) else None
            tasks.append(
                ProfileTask(history.user_id, history_hash(events), events, None, text, n_new, len(history.item_ids))
            )
        else:
            report.without_history += 1
    return tasks


def truncate_histories(histories: Iterable[UserHistory], share: float) -> list[UserHistory]:
    """Keep the first `share` of each history, at least one event, to simulate an older profile."""
    if share == 1:
        return list(histories)
    return [_truncate(history, max(1, round(share * len(history.item_ids)))) for history in histories]


def _truncate(history: UserHistory, n: int) -> UserHistory:
    weights = None if history.weights is None else history.weights[:n]
    times_ms = None if history.times_ms is None else history.times_ms[:n]
    return UserHistory(history.user_id, history.item_ids[:n], weights, times_ms)


def combination_tasks(
    tasks: Sequence[ProfileTask], keys: Sequence[ProfileKey], store: ProfileStore
) -> list[ProfileTask]:
    """Build a task for each user with aspects to combine.

    The hash covers the texts of the aspects, so a changed aspect leads to a new combination.
    """
    user_ids = [task.user_id for task in tasks]
    found = {key.aspect: store.find(key, user_ids) for key in keys}
    combinations = []
    for task in tasks:
        stored = {aspect: by_key.get((task.user_id, task.history_hash)) for aspect, by_key in found.items()}
        texts = {aspect: profile.text for aspect, profile in stored.items() if profile is not None and profile.text}
        if texts:
            combinations.append(
                ProfileTask(
                    task.user_id, hash_json([task.history_hash, texts]), task.events, texts, None, 0, task.n_history
                )
            )
    return combinations
