"""Profile corruption for the robustness experiment: texts swapped between users, or nonsense."""

from typing import Any, Literal

import numpy as np
import polars as pl
from pydantic import Field

from retort.offline.common.section import MAX_SEED, Section

# Fluent text that describes no user: three of these subjects in one fixed sentence.
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
    """Recipe section `[profiles.damage]`: which users get a corrupted profile, and of which kind."""

    share: float = Field(0.0, ge=0, le=1, description="share of the users with a profile")
    kind: Literal["others", "nonsense"] = Field(
        "others", description="others: another user's profile; nonsense: invented text"
    )
    seed: int = Field(7, ge=0, le=MAX_SEED, description="seed of the choice of users and texts")


def corrupt_profiles(table: pl.DataFrame, config: CorruptionConfig) -> pl.DataFrame:
    """Replace the texts of some users in a `profiles_table`.

    Which users are chosen depends on the seed alone, and a larger share includes the users of a smaller one. The
    faithfulness (column `grounding`) of a replaced text is null.
    """
    if config.share == 0 or not len(table):
        return table
    users = sorted(table["user_id"].unique().to_list())
    chosen = np.random.default_rng(config.seed).permutation(len(users))[: round(config.share * len(users))]
    texts = _others(table, users, chosen) if config.kind == "others" else _nonsense(users, chosen, config.seed)
    rows: list[dict[str, Any]] = []
    for row in table.iter_rows(named=True):
        text = texts.get((row["user_id"], row["aspect"]), texts.get((row["user_id"], "")))
        rows.append(row if text is None else {**row, "text": text, "grounding": None})
    return pl.DataFrame(rows, schema=table.schema)


def _others(table: pl.DataFrame, users: list[str], chosen: "np.ndarray[Any, Any]") -> dict[tuple[str, str], str]:
    """Swap texts in one cycle among the chosen users: no user keeps the own text, unless a single user is chosen."""
    own = {(user_id, aspect): text for user_id, aspect, text in table.select("user_id", "aspect", "text").iter_rows()}
    swapped = {}
    for receiver, giver in zip(chosen, np.roll(chosen, 1), strict=True):
        for aspect in table["aspect"].unique():
            if (text := own.get((users[giver], aspect))) is not None:
                swapped[users[receiver], aspect] = text
    return swapped


def _nonsense(users: list[str], chosen: "np.ndarray[Any, Any]", seed: int) -> dict[tuple[str, str], str]:
    """Make a different text for almost each user: users with equal texts would form groups, which can be learnt."""
    drawn = {at: np.random.default_rng((seed, at)).choice(len(_SUBJECTS), 3, replace=False) for at in chosen}
    return {
        (users[at], ""): _NONSENSE.format(*(_SUBJECTS[subject] for subject in three)) for at, three in drawn.items()
    }
