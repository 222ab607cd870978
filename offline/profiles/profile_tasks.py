"""Whose profile is wanted: users of whom something is known, and those whose aspects can be combined."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from retort.offline.profiles.history import Catalogue, Event, UserHistory
from retort.offline.profiles.prompt import history_hash
from retort.offline.profiles.report import ProfilesReport
from retort.offline.profiles.store import ProfileKey, ProfileStore
from retort.shared.base.hashing import hash_json


class PriorProfile(NamedTuple):
    """A profile that stands, written of the first n_covered events of a history."""

    text: str | None
    n_covered: int


class ProfileTask(NamedTuple):
    """One user's profile of one aspect; `parts` are the profiles that it combines.

    prior: the profile so far, which the last n_new events carry on; None: the whole history is read. n_history: events
    of the whole history, those of unknown items and those beyond max_history included.
    """

    user_id: str
    history_hash: str
    events: Sequence[Event]
    parts: dict[str, str] | None = None
    prior: str | None = None
    n_new: int = 0
    n_history: int = 0


def build_tasks(
    some: Iterable[UserHistory],
    catalogue: Catalogue,
    max_history: int | None,
    report: ProfilesReport,
    priors: Mapping[str, PriorProfile] | None = None,
) -> list[ProfileTask]:
    """Users of whom something is known; the others are counted."""
    wanted = []
    for history in some:
        report.users += 1
        events, unknown = catalogue.events(history, max_history)
        report.unknown_events += unknown
        if events:
            n_new, prior = 0, (priors or {}).get(history.user_id)
            if prior is not None:
                n_new = min(catalogue.count(history.item_ids[prior.n_covered :]), len(events))
            text = prior.text if prior is not None and 0 < n_new < len(events) else None
            wanted.append(
                ProfileTask(history.user_id, history_hash(events), events, None, text, n_new, len(history.item_ids))
            )
        else:
            report.without_history += 1
    return wanted


def truncate_histories(some: Iterable[UserHistory], share: float) -> list[UserHistory]:
    """The first part of each history, one event at least: what a profile of that age had seen."""
    if share == 1:
        return list(some)
    return [_truncate(history, max(1, round(share * len(history.item_ids)))) for history in some]


def _truncate(history: UserHistory, n: int) -> UserHistory:
    weights = None if history.weights is None else history.weights[:n]
    return UserHistory(history.user_id, history.item_ids[:n], weights)


def combination_tasks(
    wanted: Sequence[ProfileTask], keys: Sequence[ProfileKey], store: ProfileStore
) -> list[ProfileTask]:
    """Users with aspects to combine. The hash covers their texts: an aspect written anew asks for a new combination."""
    user_ids = [one.user_id for one in wanted]
    found = {key.aspect: store.find(key, user_ids) for key in keys}
    able = []
    for one in wanted:
        stored = {aspect: by_key.get((one.user_id, one.history_hash)) for aspect, by_key in found.items()}
        texts = {aspect: answer.text for aspect, answer in stored.items() if answer is not None and answer.text}
        if texts:
            able.append(
                ProfileTask(
                    one.user_id, hash_json([one.history_hash, texts]), one.events, texts, None, 0, one.n_history
                )
            )
    return able
