"""Promotion gate of serving: the paired test of `retort promote`, over the ranks that two bundles hold."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from retort.shared.base.errors import BundleError
from retort.shared.model.bundle import USERS_TEST, Manifest, read_manifest
from retort.shared.model.paired_test import IntArray, bootstrap, ndcg
from retort.shared.model.registry import Published

RESAMPLES = 2000
_DEFAULT_K = 10
_KEPT_VERDICTS = 1000


@dataclass(frozen=True)
class Verdict:
    """Decision of the gate.

    Attributes:
        passed: Whether the challenger may be promoted: the interval does not lie wholly below 0.
        reason: One sentence.
        metric: Metric that was compared; None where nothing could be compared.
        champion: Mean of the champion.
        challenger: Mean of the challenger.
        low: Lower end of the 95 % interval of challenger − champion.
        high: Upper end.
        users: Number of users in both tests.
    """

    passed: bool
    reason: str
    metric: str | None = None
    champion: float | None = None
    challenger: float | None = None
    low: float | None = None
    high: float | None = None
    users: int | None = None


class Verdicts:
    """Comparisons of pairs of bundles, which never change, so that each is computed once."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, Path], Verdict] = {}

    def compare(self, champion: Path, challenger: Path) -> Verdict:
        """Return `compare_versions` of the two."""
        pair = (champion, challenger)
        if pair not in self._known:
            if len(self._known) >= _KEPT_VERDICTS:
                self._known.clear()
            self._known[pair] = compare_versions(champion, challenger)
        return self._known[pair]


def bundle_directory(published: Published, cache: Path) -> Path | None:
    """Return the bundle's directory on this machine: its own, or the copy in the cache; None if there is none."""
    local = published.uri.removeprefix("file://")
    path = cache / published.bundle_id if "://" in local else Path(local)
    return path if path.is_dir() else None


def compare_versions(champion: Path, challenger: Path) -> Verdict:
    """Compare the sealed ranks of two bundles by NDCG at the challenger's first k, as `retort promote` does.

    Raises:
        BundleError: A bundle cannot be read.
    """
    before, after = read_manifest(champion), read_manifest(challenger)
    k = _evaluation(after).get("k") or [_DEFAULT_K]
    if (difference := _different_tests(before, after, int(k[0]))) is not None:
        return Verdict(False, difference)
    users_C, before_C, after_C = _common_cases(_read_ranks(champion), _read_ranks(challenger))
    if not len(users_C):
        return Verdict(False, "the two tests have no user in common; compare runs on the same data and split.")
    return _verdict(users_C, ndcg(before_C, int(k[0])), ndcg(after_C, int(k[0])), f"ndcg@{k[0]}")


def _verdict(users_C: IntArray, before_C: Any, after_C: Any, metric: str) -> Verdict:
    found = bootstrap(before_C[None], after_C[None], users_C, resamples=RESAMPLES)
    champion, challenger, n_users = float(before_C.mean()), float(after_C.mean()), int(users_C[-1]) + 1
    percent = "" if not champion else f", {(challenger - champion) / champion:+.1%}"
    interval = "" if not champion else f" [{found.low / champion:+.1%}, {found.high / champion:+.1%}]"
    word = "significant" if found.low > 0 or found.high < 0 else "not significant"
    reason = f"{metric}: {champion:.4f} → {challenger:.4f}{percent}{interval} over {n_users} users: {word}."
    return Verdict(found.high >= 0, reason, metric, champion, challenger, found.low, found.high, n_users)


def _evaluation(manifest: Manifest) -> dict[str, Any]:
    section = manifest.recipe.get("evaluation")
    return section if isinstance(section, dict) else {}


def _different_tests(champion: Manifest, challenger: Manifest, k: int) -> str | None:
    """Why the ranks cannot be paired, or None."""
    for manifest in (champion, challenger):
        if USERS_TEST not in manifest.files:
            return f"bundle {manifest.bundle_id} holds no ranks of its test users; use `retort promote --cases`."
        # a list has no ranks beyond its end
        if k > max(_evaluation(manifest).get("k") or [_DEFAULT_K]):
            return f"the test lists of {manifest.bundle_id} are too short for ndcg@{k}; use `retort promote --cases`."
    if _test_settings(champion) != _test_settings(challenger):
        return "the two were evaluated on different tests (data, split or protocol); use `retort promote --cases`."
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


def _read_ranks(bundle: Path) -> _Ranks:
    try:
        table = pq.read_table(bundle / USERS_TEST, columns=["user", "rank"])
        users = table.column("user").cast(pa.string()).to_numpy()
        ranks = table.column("rank").to_numpy().astype(np.int64)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise BundleError(
            f"{bundle}: {USERS_TEST} cannot be read ({str(error).splitlines()[0]}); publish it again."
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
