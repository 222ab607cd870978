"""Synthetic catalogue: titles, attributes and descriptions that state an item's theme, mood and series."""

from typing import Any

import numpy as np
import polars as pl

from retort.offline.data.ragged import IntArray
from retort.offline.data.sources import _synthetic_vocabulary as words
from retort.offline.data.sources._synthetic_world import NO_ITEM, World


def describe_items(world: World, item_ids: pl.Series, rng: np.random.Generator) -> pl.DataFrame:
    """Return the catalogue: item_id, title, genre, mood, motifs, series, part, creator, year, description."""
    themes = [_describe_theme(world, theme, rng) for theme in range(world.n_themes)]
    series, part = _series(world)
    stems = _stems(world.n_items, rng)
    creators = [f"{first} {last}" for first in words.FIRST_NAMES for last in words.LAST_NAMES]
    rows = []
    for item in range(world.n_items):
        theme, first = int(world.item_theme[item]), int(series[item])
        about = themes[theme]
        stem, number = stems[first], int(part[item])
        in_series = number > 0
        mood = words.MOODS[int(world.item_mood[item])]
        motif2 = str(rng.choice(about["motifs"][1:]))
        template = words.DESCRIPTIONS[int(rng.integers(len(words.DESCRIPTIONS)))]
        text = template.format(**about["text"], motif2=motif2, mood=mood, Mood=mood.capitalize())
        if number > 1:
            text += f" Part {number} of the series {stem}, best read after part {number - 1}."
        rows.append(
            {
                "title": f"{stem} {words.PARTS[number - 1]}".strip() if in_series else stem,
                "genre": about["text"]["genre"],
                "mood": mood,
                "motifs": [about["text"]["motif"], motif2],
                "setting": about["text"]["setting"],
                "series": stem if in_series else None,
                "part": number if in_series else None,
                # a series has one creator, a theme has few
                "creator": creators[(theme * 7 + first % 3) % len(creators)],
                "year": int(1960 + (theme * 11 + first * 3) % 60 + max(number - 1, 0)),
                "description": text,
            }
        )
    return pl.DataFrame(rows, schema_overrides={"series": pl.String, "part": pl.Int64}).insert_column(0, item_ids)


def describe_followers(world: World, items: pl.DataFrame) -> list[str]:
    """Return a text an item: whom its theme pleases and what these readers go on to.

    Args:
        items: What `describe_items` returned for this world.
    """
    first = items[world.theme_starts[:-1].tolist()]
    about = [
        f"{genre} about {motifs[0]} ({setting})"
        for genre, motifs, setting in first.select("genre", "motifs", "setting").iter_rows()
    ]
    followers = [
        f"Many of them go on to {about[int(one)]} or to {about[int(other)]}." for one, other in world.theme_next
    ]
    moods = zip(world.item_theme.tolist(), items["title"], items["mood"], strict=True)
    return [f"{title}: for readers of {mood} {about[theme]}. {followers[theme]}" for theme, title, mood in moods]


def _describe_theme(world: World, theme: int, rng: np.random.Generator) -> dict[str, Any]:
    genre = list(words.GENRES)[int(world.theme_genre[theme])]
    motifs = [str(motif) for motif in rng.choice(words.MOTIFS, size=4, replace=False)]
    text = {
        "genre": genre,
        "hero": str(rng.choice(words.GENRES[genre])),
        "setting": str(rng.choice(words.SETTINGS)),
        "motif": motifs[0],
    }
    return {"text": text, "motifs": motifs}


def _series(world: World) -> tuple[IntArray, IntArray]:
    """For each item: the first part of its series (itself if alone), and its part's number (0 if alone)."""
    series = np.arange(world.n_items)
    part = np.zeros(world.n_items, dtype=np.int64)
    later = set(world.item_sequel[world.item_sequel != NO_ITEM].tolist())
    for first in np.flatnonzero(world.item_sequel != NO_ITEM):
        if int(first) in later:
            continue
        number, item = 1, int(first)
        while item != NO_ITEM:
            series[item], part[item] = first, number
            number, item = number + 1, int(world.item_sequel[item])
    return series, part


def _stems(n_items: int, rng: np.random.Generator) -> list[str]:
    """A different title for each item."""
    pairs = [f"The {adjective} {noun}" for adjective in words.ADJECTIVES for noun in words.NOUNS]
    order = rng.permutation(len(pairs))
    names = words.FIRST_NAMES
    stems = []
    for item in range(n_items):
        round_number, at = divmod(item, len(pairs))
        # after all pairs are used, a name distinguishes equal titles
        owner = (
            ""
            if round_number == 0
            else f" of {names[round_number % len(names)]}"
            + (f" {round_number // len(names)}" if round_number >= len(names) else "")
        )
        stems.append(pairs[order[at]] + owner)
    return stems
