"""Tiny worlds whose answers are known."""

import numpy as np

from retort.offline.data.ragged import Ragged
from retort.offline.data.split import Cases, Split
from retort.offline.teachers.teacher import Distributions, Rankings, Teacher
from retort.shared.model.item_index import ItemIndex


def ring(n_items: int = 12, n_users: int = 120, length: int = 8, seed: int = 0) -> Split:
    """Items stand in a ring; each user walks along it from a random place, so the next item is certain."""
    random = np.random.default_rng(seed)
    starts = random.integers(n_items, size=n_users)
    walks = (starts[:, None] + np.arange(length)) % n_items + 1
    users = np.arange(n_users)
    return Split(
        protocol="held",
        user_ids=tuple(f"u{user}" for user in users),
        item_index=ItemIndex(f"i{item}" for item in range(1, n_items + 1)),
        train=Ragged.of(walks[:, :-2]),
        validation=Cases(users, Ragged.of(walks[:, :-2]), walks[:, -2]),
        test=Cases(users, Ragged.of(walks[:, :-1]), walks[:, -1]),
    )


def teacher_of(split: Split, width: int = 6, seed: int = 0, unknown: int = 0) -> Teacher:
    """Random vectors for users and items, random lists for train events; the first `unknown` users have none."""
    random = np.random.default_rng(seed)
    n_users, n_rows = len(split.user_ids), len(split.item_index) + 1
    has_user = np.arange(n_users) >= unknown
    has_item = np.arange(n_rows) > 0
    return Teacher(
        user_vectors=random.standard_normal((n_users, width)).astype(np.float32) * has_user[:, None],
        has_user=has_user,
        item_vectors=random.standard_normal((n_rows, width)).astype(np.float32) * has_item[:, None],
        has_item=has_item,
        rankings=_rankings(split, random, unknown),
        distributions=_distributions(split, random, unknown),
    )


def _rows(split: Split, unknown: int) -> np.ndarray:
    """One row an event; the users without a teacher have none."""
    rows = np.arange(len(split.train.values))
    return np.where(rows < split.train.offsets[unknown], -1, rows)


def _lists(split: Split, random: np.random.Generator, k: int) -> np.ndarray:
    keys = random.random((len(split.train.values), len(split.item_index)))
    return np.argsort(keys, axis=1)[:, :k] + 1


def _rankings(split: Split, random: np.random.Generator, unknown: int, k: int = 4) -> Rankings:
    items = _lists(split, random, k)
    distances = np.sort(random.random(items.shape), axis=1).astype(np.float32)
    return Rankings(_rows(split, unknown), items, distances, random.random(len(items)).astype(np.float32))


def _distributions(split: Split, random: np.random.Generator, unknown: int, k: int = 4) -> Distributions:
    items = _lists(split, random, k)
    shares = random.dirichlet(np.ones(k + 1), len(items))[:, :k].astype(np.float32)
    ranks = random.integers(1, len(split.item_index) + 1, len(items))
    return Distributions(_rows(split, unknown), items, shares, ranks, temperature=2.0)
