"""Quality of written profiles, measured without a reader: faithfulness, repetition, and difference between users."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

_SAMPLE = 1000  # texts that are compared; a file may hold millions
_SEED = 11
_LEAST_FAITHFULNESS = 0.5
_MOST_REPEATED = 0.15
_MOST_SHARED = 0.6
_LEAST_DISTINCT = 0.95


@dataclass(frozen=True)
class ProfilesQuality:
    """Means over a sample of the texts.

    Attributes:
        n_texts: Size of the sample.
        distinct: Share of texts that differ from all others.
        faithfulness: Mean faithfulness; None where no text could be checked.
        repeated: Share of a text's word triples that occurred in it before.
        shared: Share of a text's word triples that the text of another, random user contains too.
    """

    n_texts: int
    distinct: float
    faithfulness: float | None
    repeated: float
    shared: float

    def line(self) -> str:
        """Return the measures as one line of text."""
        faithfulness = "unknown" if self.faithfulness is None else f"{self.faithfulness:.2f}"
        return (
            f"quality of {self.n_texts} profiles: {self.distinct:.0%} distinct, faithfulness {faithfulness}, "
            f"{self.repeated:.0%} of the phrases repeated, {self.shared:.0%} of the phrases shared with another user"
        )

    def problems(self) -> list[str]:
        """Return what makes the texts useless for a recommender; empty if nothing does."""
        found = []
        if self.distinct < _LEAST_DISTINCT:
            found.append("many users have the same text")
        if self.faithfulness is not None and self.faithfulness < _LEAST_FAITHFULNESS:
            found.append("the histories do not support most claims")
        if self.repeated > _MOST_REPEATED:
            found.append("the model repeats itself")
        if self.shared > _MOST_SHARED:
            found.append("the texts hardly tell users apart")
        return found

    def warning(self) -> str | None:
        """Return the problems as one sentence, or None."""
        if not (problems := self.problems()):
            return None
        return (
            f"these profiles are of little use: {', '.join(problems)}; use a stronger model, and compare with the "
            'control [teacher] control = "shuffled".'
        )


def measure_profiles(path: Path) -> ProfilesQuality | None:
    """Measure a file of profiles; None if it has fewer than two."""
    rows = pl.scan_parquet(path).select("text", "grounding")
    n_rows = int(rows.select(pl.len()).collect().item())
    if n_rows < 2:
        return None
    sample = rows.gather_every(max(1, n_rows // _SAMPLE)).head(_SAMPLE).collect()
    known = sample["grounding"].drop_nulls()
    return _measure(sample["text"].to_list(), float(np.mean(known.to_numpy())) if len(known) else None)


def _measure(texts: Sequence[str], faithfulness: float | None) -> ProfilesQuality:
    triples = [_triples(text) for text in texts]
    order = np.random.default_rng(_SEED).permutation(len(texts))
    shared = [
        _share(sum(triple in other for triple in set(triples[row])), len(set(triples[row])))
        for row, other in (
            (row, set(triples[neighbour])) for row, neighbour in zip(order, np.roll(order, 1), strict=True)
        )
    ]
    repeated = [_share(len(of_text) - len(set(of_text)), len(of_text)) for of_text in triples]
    return ProfilesQuality(
        n_texts=len(texts),
        distinct=len(set(texts)) / len(texts),
        faithfulness=faithfulness,
        repeated=float(np.mean(repeated)),
        shared=float(np.mean(shared)),
    )


def _triples(text: str) -> list[tuple[str, str, str]]:
    words = re.findall(r"\w+", text.lower())
    return list(zip(words, words[1:], words[2:], strict=False))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
