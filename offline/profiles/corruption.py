"""Profiles made wrong on purpose, for the robustness experiment: swapped among users, or planted nonsense."""

from typing import Any, Literal

import numpy as np
import polars as pl
from pydantic import Field

from retort.offline.common.section import Section

# Fluent, confident, and about nobody: three of these in a sentence that is the same for all.
_NONSENSE = "Above all the user is drawn to {}; collects everything about {}, and turns away from {}."
_SUBJECTS = (
    "lighthouses of granite", "medieval bookbinding", "desert gardens", "brass bands", "alpine railways", "beekeeping",
    "paper kites", "tide tables", "copper engraving", "moss and lichens", "canal locks", "harbour cranes",
    "pocket sundials", "glass marbles", "wicker baskets", "church organs", "snow ploughs", "cave rivers",
    "felt hats", "herb vinegars", "rope bridges", "wooden spoons", "peat bogs", "signal flags", "candle wax",
    "stone walls", "windmill sails", "clay whistles", "barrel making", "ferry timetables", "salt marshes",
    "chess clocks", "goat cheeses", "slate roofs", "quill pens", "postal stamps", "fossil ferns", "anvil sounds",
    "linen weaving", "rain gauges",
)  # fmt: skip


class CorruptionConfig(Section):
    """`[profiles.damage]`: what part of the users gets a wrong profile, and which."""

    share: float = Field(0.0, ge=0, le=1, description="of the users who have a profile")
    kind: Literal["others", "nonsense"] = Field("others", description="somebody else's profile, or planted nonsense")
    seed: int = Field(7, ge=0, description="whose profiles, and with which")


def corrupt_profiles(table: pl.DataFrame, damage: CorruptionConfig) -> pl.DataFrame:
    """`profiles_table` with some users' texts replaced; who is hit depends on the seed alone, and a larger share hits
    the same users and more. The grounding of a replaced text is unknown."""
    if damage.share == 0 or not len(table):
        return table
    users = sorted(table["user_id"].unique().to_list())
    hit = np.random.default_rng(damage.seed).permutation(len(users))[: round(damage.share * len(users))]
    texts = _others(table, users, hit) if damage.kind == "others" else _nonsense(users, hit, damage.seed)
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


def _nonsense(users: list[str], hit: "np.ndarray[Any, Any]", seed: int) -> dict[tuple[str, str], str]:
    """Another text for almost each user: a few texts for all would be groups, and groups can be learnt."""
    drawn = {at: np.random.default_rng((seed, at)).choice(len(_SUBJECTS), 3, replace=False) for at in hit}
    return {(users[at], ""): _NONSENSE.format(*(_SUBJECTS[one] for one in three)) for at, three in drawn.items()}
