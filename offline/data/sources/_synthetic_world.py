"""Synthetic world: themes within genres, series and moods; users with stable tastes that may drift.

Why text helps here: an item's theme, mood and place in a series decide who chooses it and what follows. The text states
all three, while most items are chosen too rarely for their ids to reveal it. Shapes: U users of a chunk, N tastes,
C candidates.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from retort.offline.data.ragged import IntArray
from retort.offline.data.sources import _synthetic_vocabulary as words

ITEMS_PER_THEME = 25
N_TASTES = 4  # themes of a user
N_CANDIDATES = 8
FAVOURITE_POWER = 1.3
MOOD_BONUS = 1.0  # added to a random number in 0 … 1
NO_ITEM = -1

SEQUEL_SHARE = 0.3  # of events after a part of a series: the next part
FOLLOW_SHARE = 0.2  # of the other events: a theme that usually follows the last one
STRAY_SHARE = 0.08  # of all events: a random theme


@dataclass(frozen=True)
class World:
    """Items sorted by theme: theme t has items theme_starts[t] … theme_starts[t + 1] - 1, popular ones first."""

    item_theme: IntArray
    item_mood: IntArray
    item_sequel: IntArray  # the next part, or NO_ITEM
    theme_starts: IntArray
    theme_share: NDArray[np.float64]  # cumulative popularity
    theme_next: IntArray  # (n_themes, 2) themes that usually follow a theme
    theme_genre: IntArray

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.item_theme)

    @property
    def n_themes(self) -> int:
        """Number of themes."""
        return len(self.theme_genre)


def make_world(n_items: int, rng: np.random.Generator) -> World:
    """Draw a world of `n_items` items."""
    n_themes = max(4, round(n_items / ITEMS_PER_THEME))
    genre = np.sort(rng.integers(0, len(words.GENRES), n_themes))
    sizes = rng.multinomial(n_items - n_themes, rng.dirichlet(np.full(n_themes, 4.0))) + 1
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    share = rng.dirichlet(np.full(n_themes, 3.0))
    return World(
        item_theme=np.repeat(np.arange(n_themes), sizes),
        item_mood=rng.integers(0, len(words.MOODS), n_items),
        item_sequel=_sequels(starts, rng),
        theme_starts=starts,
        theme_share=np.cumsum(share / share.sum()),
        theme_next=rng.integers(0, n_themes, (n_themes, 2)),
        theme_genre=genre,
    )


def _sequels(starts: IntArray, rng: np.random.Generator) -> IntArray:
    """Draw series of two to six parts, each within one theme, for about half of the items."""
    sequel = np.full(int(starts[-1]), NO_ITEM, dtype=np.int64)
    for first, end in pairwise(starts.tolist()):
        members = rng.permutation(np.arange(first, end))
        at = 0
        while at + 2 <= len(members) * 0.6:
            parts = members[at : at + int(rng.integers(2, 7))]
            sequel[parts[:-1]] = parts[1:]
            at += len(parts)
    return sequel


@dataclass(frozen=True)
class Events:
    """Events of a chunk of users, sorted by user and time; users are numbered from `first_user`."""

    users: IntArray
    items: IntArray
    timestamps: IntArray
    drifts: NDArray[np.bool_]  # one for each user


@dataclass(frozen=True)
class _Tastes:
    themes_UN: IntArray
    early_UN: NDArray[np.float64]  # cumulative weights at the first event
    late_UN: NDArray[np.float64]  # cumulative weights at the last event
    mood_U: IntArray
    drifts_U: NDArray[np.bool_]


def simulate(world: World, n_users: int, first_user: int, mean_length: float, rng: np.random.Generator) -> Events:
    """Simulate the histories of one chunk of users, all one step at a time."""
    lengths = np.minimum(5 + rng.negative_binomial(1.5, 1.5 / max(mean_length - 3.5, 0.1), n_users), world.n_items // 2)
    tastes = _draw_tastes(world, n_users, rng)
    items_UT = np.full((n_users, int(lengths.max())), NO_ITEM, dtype=np.int64)
    seen = np.zeros((n_users, world.n_items), dtype=bool)
    # longest first, so that the users with events left are always the first rows
    order = np.argsort(-lengths, kind="stable")
    last = np.full(n_users, NO_ITEM, dtype=np.int64)
    for step in range(items_UT.shape[1]):
        rows = order[: np.searchsorted(-lengths[order], -step, side="left")]
        age = step / np.maximum(lengths[rows] - 1, 1)
        chosen = _choose(world, tastes, rows, age, last[rows], seen, rng)
        # if all candidates were seen, draw once more; after that the step is skipped
        skipped = chosen == NO_ITEM
        chosen[skipped] = _choose(world, tastes, rows[skipped], age[skipped], last[rows[skipped]], seen, rng)
        items_UT[rows, step] = chosen
        taken = chosen != NO_ITEM
        seen[rows[taken], chosen[taken]] = True
        last[rows[taken]] = chosen[taken]
    users, steps = np.nonzero(items_UT != NO_ITEM)
    return Events(users + first_user, items_UT[users, steps], _times(users, n_users, rng), tastes.drifts_U)


def _draw_tastes(world: World, n_users: int, rng: np.random.Generator) -> _Tastes:
    """Draw a main theme and others near it (same genre) or anywhere; users who drift end with other weights."""
    themes = np.searchsorted(world.theme_share, rng.random((n_users, N_TASTES))).clip(max=world.n_themes - 1)
    near = (themes[:, :1] + rng.integers(-2, 3, themes.shape)).clip(0, world.n_themes - 1)
    themes = np.where(rng.random(themes.shape) < 0.4, near, themes)
    early = rng.dirichlet(np.full(N_TASTES, 0.7), n_users)
    drifts = rng.random(n_users) < 0.5
    late = np.where(drifts[:, None], rng.dirichlet(np.full(N_TASTES, 0.7), n_users), early)
    moods = rng.integers(0, len(words.MOODS), n_users)
    return _Tastes(themes, np.cumsum(early, 1), np.cumsum(late, 1), moods, drifts)


def _choose(
    world: World,
    tastes: _Tastes,
    rows: IntArray,
    age: NDArray[np.float64],
    last: IntArray,
    seen: NDArray[np.bool_],
    rng: np.random.Generator,
) -> IntArray:
    """Choose the next item of each row: a sequel, else an unseen item of a fitting theme; NO_ITEM if all are seen."""
    theme = _next_themes(world, tastes, rows, age, last, rng)
    first, end = world.theme_starts[theme], world.theme_starts[theme + 1]
    # a power above 1 gives each theme popular items and a long tail
    place_UC = rng.random((len(rows), N_CANDIDATES)) ** FAVOURITE_POWER
    candidates_UC = first[:, None] + (place_UC * (end - first)[:, None]).astype(np.int64)
    fits_UC = world.item_mood[candidates_UC] == tastes.mood_U[rows, None]
    score_UC = MOOD_BONUS * fits_UC + rng.random(candidates_UC.shape)
    score_UC[seen[rows[:, None], candidates_UC]] = -1.0
    best = score_UC.argmax(1)
    at = np.arange(len(rows))
    chosen = np.where(score_UC[at, best] >= 0, candidates_UC[at, best], NO_ITEM)
    sequel = np.where(last != NO_ITEM, world.item_sequel[last], NO_ITEM)
    follows = (sequel != NO_ITEM) & ~seen[rows, sequel] & (rng.random(len(rows)) < SEQUEL_SHARE)
    return np.where(follows, sequel, chosen)


def _next_themes(
    world: World,
    tastes: _Tastes,
    rows: IntArray,
    age: NDArray[np.float64],
    last: IntArray,
    rng: np.random.Generator,
) -> IntArray:
    weights = (1 - age)[:, None] * tastes.early_UN[rows] + age[:, None] * tastes.late_UN[rows]
    taste = (rng.random((len(rows), 1)) > weights).sum(1).clip(max=N_TASTES - 1)
    theme = tastes.themes_UN[rows, taste]
    draw = rng.random(len(rows))
    follow = (last != NO_ITEM) & (draw < FOLLOW_SHARE)
    after = world.theme_next[world.item_theme[last], (rng.random(len(rows)) < 0.3).astype(np.int64)]
    stray = np.searchsorted(world.theme_share, rng.random(len(rows))).clip(max=world.n_themes - 1)
    theme = np.where(follow, after, theme)
    return np.where(draw > 1 - STRAY_SHARE, stray, theme).astype(np.int64)


EPOCH_MS = 1_672_531_200_000  # 2023-01-01, UTC
SPAN_MS = 730 * 86_400_000


def _times(users: IntArray, n_users: int, rng: np.random.Generator) -> IntArray:
    """Draw increasing times within two years; each user is active for a random interval."""
    start = rng.random(n_users) * 0.9
    stretch = (1 - start) * rng.beta(2, 1.2, n_users)
    gaps = rng.exponential(size=len(users)) + 1e-6
    summed = np.cumsum(gaps)
    first = np.searchsorted(users, np.arange(n_users))
    last = np.searchsorted(users, np.arange(n_users), side="right") - 1
    total = (summed[last] - summed[first])[users]
    share = (summed - summed[first[users]]) / np.maximum(total, 1e-9)
    moment = start[users] + stretch[users] * share
    return (EPOCH_MS + moment * SPAN_MS).astype(np.int64)
