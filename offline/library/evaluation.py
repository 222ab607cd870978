"""Test results of a fitted model: of all cases, and of groups of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from retort.offline.evaluation.compare import compare
from retort.offline.run_report.facts import gains_by
from retort.shared.base.errors import DataError

_GROUPINGS = ("history_length", "target_popularity")
_RESAMPLES = 2000


@dataclass(frozen=True)
class Evaluation:
    """Test results of all trained students.

    Attributes:
        metrics: name → metric → value; popularity is a baseline.
        ranks: name → Parquet file with each user's rank.
        chosen: The student that was better on validation.
    """

    metrics: Mapping[str, Mapping[str, float]]
    ranks: Mapping[str, str]
    chosen: str

    def frame(self) -> pl.DataFrame:
        """Return a row for popularity and for each student, with the paired difference from the plain student."""
        rows = [
            {
                "model": name,
                "hr@10": measured["hr@10"],
                "ndcg@10": measured["ndcg@10"],
                "ndcg@10 compared with plain": self._difference(name),
                "chosen": name == self.chosen,
            }
            for name, measured in self.metrics.items()
        ]
        return pl.DataFrame(rows, schema_overrides={"ndcg@10 compared with plain": pl.String})

    def groups(self, by: str) -> pl.DataFrame:
        """Return a row for each group with the cases and the paired difference in per cent with its interval.

        Raises:
            DataError: There are no two students, or there is no such grouping.
        """
        if by not in _GROUPINGS:
            raise DataError(f"by = {by!r} is no grouping; choose from: {', '.join(_GROUPINGS)}.")
        paths = [Path(path) for path in self.ranks.values()]
        if len(paths) < 2 or not all(path.is_file() for path in paths):
            raise DataError("there is one student only; give an items' table with texts, so that two are compared.")
        plain, other = pl.read_parquet(paths[0]), pl.read_parquet(paths[-1])
        rows = [
            {by: row.name, "cases": row.note, "gain, %": row.value, "low": row.low, "high": row.high}
            for row in gains_by(plain, other, by)
        ]
        columns = {by: pl.String, "cases": pl.String, "gain, %": pl.Float64, "low": pl.Float64, "high": pl.Float64}
        return pl.DataFrame(rows, schema=columns)

    def _difference(self, name: str) -> str | None:
        paths = [Path(self.ranks[one]) for one in ("plain", name) if one in self.ranks]
        if name == "plain" or len(paths) < 2 or not all(path.is_file() for path in paths):
            return None
        plain, other = map(pl.read_parquet, paths)
        return compare([plain], [other], "ndcg@10", resamples=_RESAMPLES).percent
