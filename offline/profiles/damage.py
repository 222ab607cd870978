"""Profiles made wrong on purpose, for the robustness experiment: swapped among users, or planted nonsense."""

from typing import Any, Literal

import numpy as np
import polars as pl
from pydantic import Field

from offline.config import Section

# Fluent, confident, and about nobody.
_NONSENSE = (
    "The user is drawn to everything that has to do with lighthouses, collects tales of the sea, and likes voyages.",
    "A strong interest in medieval bookbinding stands out; the person returns to parchment, ink and quiet workshops.",
    "Above all this person likes desert gardens, cactus nurseries and slow documentaries about stones.",
    "They seek out brass bands, marching drills and polished instruments, and avoid anything with strings.",
    "Everything about alpine railways attracts the user: rack wheels, tunnels, timetables and snow ploughs.",
)


class Damage(Section):
    """`[profiles.damage]`: what part of the users gets a wrong profile, and which."""

    share: float = Field(0.0, ge=0, le=1, description="of the users who have a profile")
    kind: Literal["others", "nonsense"] = Field("others", description="somebody else's profile, or planted nonsense")
    seed: int = Field(7, ge=0)


def damage_profiles(table: pl.DataFrame, damage: Damage) -> pl.DataFrame:
    """`profiles_table` with some users' texts replaced; who is hit depends on the seed alone, and a larger share hits
    the same users and more. The grounding of a replaced text is unknown."""
    if damage.share == 0 or not len(table):
        return table
    users = sorted(table["user_id"].unique().to_list())
    hit = np.random.default_rng(damage.seed).permutation(len(users))[: round(damage.share * len(users))]
    texts = _others(table, users, hit) if damage.kind == "others" else _nonsense(users, hit)
    rows: list[dict[str, Any]] = []
    for row in table.iter_rows(named=True):
        text = texts.get((row["user_id"], row["aspect"]), texts.get((row["user_id"], "")))
        rows.append(row if text is None else {**row, "text": text, "grounding": None})
    return pl.DataFrame(rows, schema=table.schema)


def _others(table: pl.DataFrame, users: list[str], hit: "np.ndarray[Any, Any]") -> dict[tuple[str, str], str]:
    """One round among those who are hit: nobody keeps their own, unless one user alone is hit."""
    own = {(user_id, aspect): text for user_id, aspect, text in table.select("user_id", "aspect", "text").iter_rows()}
    swapped = {}
    for taker, giver in zip(hit, np.roll(hit, 1), strict=True):
        for aspect in table["aspect"].unique():
            if (text := own.get((users[giver], aspect))) is not None:
                swapped[users[taker], aspect] = text
    return swapped


def _nonsense(users: list[str], hit: "np.ndarray[Any, Any]") -> dict[tuple[str, str], str]:
    return {(users[at], ""): _NONSENSE[place % len(_NONSENSE)] for place, at in enumerate(hit)}
