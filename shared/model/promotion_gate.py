"""Promotion gate: whether a challenger is worse than the champion, by what the two sealed bundles hold.

`retort promote` and the API decide by it alike. Bundles hold the ranks of their test cases; ranks of the same test are
paired.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from retort.shared.base.errors import BundleError
from retort.shared.model.bundle import USERS_TEST
from retort.shared.model.manifest import Manifest, read_manifest
from retort.shared.model.paired_test import Comparison, IntArray, compare_cases, metric_of_cases, parse_metric
from retort.shared.model.sealed_files import read_verified

RESAMPLES = 2000
_LIST_LENGTHS = (10, 5, 20)  # of a recipe that sets none
_CASES = "name a run's split with `retort promote --cases`"


@dataclass(frozen=True)
class Verdict:
    """Decision of the gate.

    Attributes:
        passed: Whether the challenger may be promoted.
        reason: One sentence.
        comparison: Result of the paired test; None where the manifests decided.
    """

    passed: bool
    reason: str
    comparison: Comparison | None = None

    @classmethod
    def of_comparison(cls, comparison: Comparison) -> "Verdict":
        """Fail a challenger whose 95 % interval lies wholly below 0."""
        return cls(comparison.high >= 0, f"{comparison.sentence()}.", comparison)


def check_sealed(champion: Path, challenger: Path, metric: str | None = None) -> Verdict:
    """Compare two bundle directories; the gate fails where they cannot be compared.

    Args:
        metric: hr, ndcg or mrr at a k; None: `declared_metric`.

    Raises:
        BundleError: A bundle cannot be read.
        DataError: The metric is unknown.
    """
    before, after = read_manifest(champion), read_manifest(challenger)
    if (lost := lost_by_export(after)) is not None:
        return Verdict(False, lost)
    if (added := after.recipe.get("items_added", {})).get("to") == before.bundle_id:
        return Verdict(
            True,
            f"{after.bundle_id} is {before.bundle_id} with {added['count']} items added: its own items keep their "
            "scores, and the new ones their share of the places.",
        )
    metric = metric or declared_metric(after)
    if (difference := _different_tests(before, after, metric)) is not None:
        return Verdict(False, difference)
    users_C, before_C, after_C = _common_cases(_read_ranks(champion, before), _read_ranks(challenger, after))
    if not len(users_C):
        return Verdict(False, f"the two tests have no user in common; {_CASES}.")
    before_SC, after_SC = (metric_of_cases(metric, ranks_C)[None] for ranks_C in (before_C, after_C))
    return Verdict.of_comparison(compare_cases(before_SC, after_SC, users_C, metric, resamples=RESAMPLES))


def lost_by_export(challenger: Manifest) -> str | None:
    """Why the graph's two-stage retrieval, or its items in fewer bits, lose too much against exact scores, or None."""
    retrieval, parity = (challenger.metrics.get(name, {}) for name in ("retrieval", "parity"))
    if retrieval.get("retrieval") == "two_stage" and _is_too_low(retrieval):
        return (
            f"its two-stage retrieval agrees with exact scores on {retrieval['agreement@10']:.2%} of the first ten, "
            f'and {retrieval["required"]:.1%} are required; set [export] retrieval = "exact".'
        )
    if parity and _is_too_low(parity):
        return (
            f"its items in {parity['precision']} agree with fp32 on {parity['agreement@10']:.2%} of the first ten, and "
            f'{parity["required"]:.1%} are required; set [export] precision = "fp32" or "fp16".'
        )
    return None


def _is_too_low(report: Mapping[str, Any]) -> bool:
    return bool(report["agreement@10"] < report["required"])


def declared_metric(manifest: Manifest) -> str:
    """NDCG at the first k of the recipe's `[evaluation]`."""
    return f"ndcg@{_list_lengths(manifest)[0]}"


def _list_lengths(manifest: Manifest) -> list[int]:
    return [int(k) for k in _evaluation(manifest).get("k") or _LIST_LENGTHS]


def _evaluation(manifest: Manifest) -> dict[str, Any]:
    return manifest.recipe.get("evaluation") or {}


def _different_tests(champion: Manifest, challenger: Manifest, metric: str) -> str | None:
    """Why the sealed ranks cannot be paired, or None."""
    for manifest in (champion, challenger):
        if USERS_TEST not in manifest.files:
            return f"bundle {manifest.bundle_id} holds no ranks of its test users; {_CASES}."
        # a list has no ranks beyond its end, so hits of the other bundle there would count for it alone
        places = max(_list_lengths(manifest))
        if parse_metric(metric)[1] > places:
            return (
                f"the test lists of {manifest.bundle_id} have {places} places, too few for {metric}; {_CASES}, or a "
                "smaller metric."
            )
    if _test_settings(champion) != _test_settings(challenger):
        return f"the two were evaluated on different tests (data, split or protocol); {_CASES}."
    return None


def _test_settings(manifest: Manifest) -> tuple[object, ...]:
    split, seen_hidden = manifest.recipe.get("split"), manifest.metrics.get("seen_hidden")
    return (manifest.data_hash, manifest.protocol, split, seen_hidden, _evaluation(manifest).get("last_items"))


@dataclass(frozen=True)
class _Ranks:
    """Cases (user, number of the user's case) and their ranks, in this order."""

    users: NDArray[np.object_]
    numbers: IntArray
    ranks: IntArray


def _read_ranks(bundle: Path, manifest: Manifest) -> _Ranks:
    try:
        content = pa.BufferReader(read_verified(bundle, USERS_TEST, manifest.files[USERS_TEST]))
        table = pq.ParquetFile(content).read(columns=["user", "rank"])
        users = np.array(table.column("user").cast(pa.string()).to_pylist(), dtype=object)
        ranks = np.array(table.column("rank").to_pylist(), dtype=np.int64)
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        cause = (str(error) or type(error).__name__).splitlines()[0]
        raise BundleError(
            f"{bundle}: {USERS_TEST} cannot be read ({cause}); publish the bundle again, or {_CASES}."
        ) from None
    order = np.argsort(users, kind="stable")
    users, ranks = users[order], ranks[order]
    starts = np.flatnonzero(np.append(True, users[1:] != users[:-1])) if len(users) else np.zeros(0, dtype=np.int64)
    lengths = np.diff(np.append(starts, len(users)))
    return _Ranks(users, np.arange(len(users)) - np.repeat(starts, lengths), ranks)


def _common_cases(a: _Ranks, b: _Ranks) -> tuple[IntArray, IntArray, IntArray]:
    """Return the number of each common case's user, and its rank on both sides."""
    of_b = dict(zip(zip(b.users, b.numbers, strict=True), b.ranks, strict=True))
    kept = [
        (user, rank, of_b[user, number])
        for user, number, rank in zip(a.users, a.numbers, a.ranks, strict=True)
        if (user, number) in of_b
    ]
    if not kept:
        nothing = np.zeros(0, dtype=np.int64)
        return nothing, nothing, nothing
    names = np.array([user for user, _, _ in kept], dtype=object)
    users = np.cumsum(np.append(False, names[1:] != names[:-1])).astype(np.int64)
    before, after = (np.array([row[side] for row in kept], dtype=np.int64) for side in (1, 2))
    return users, before, after
