"""What profiles are worth when they are old, when users are new, and when some profiles are wrong."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from retort.offline.experiments.arms import Arm, Arms, against, keep

SHARES = (1.0, 0.9, 0.75, 0.5, 0.25)
DAMAGED = (0.25, 0.5, 1.0)
LENGTHS = (0, 5, 10, 20, 50, 100, 10**9)
# as many vectors, as spread, of the wrong users: what teaching gains without anybody's knowledge
CONTROL = ("teacher.control=shuffled",)

Kept = tuple[list[dict[str, Any]], Path, Path]


def staleness(arms: Arms, folder: Path, shares: tuple[float, ...] = SHARES) -> Kept:
    """Profiles that saw only the first part of each history, against students that saw all of it."""
    plain = arms.run("plain", 0.0, plain=True)
    rows = []
    for share in shares:
        arm = arms.run(f"profiles: {share:.0%} of the history", share, [f"profiles.history_share={share}"])
        rows.append(against(plain, arm))
    rows.append(against(plain, arms.run("control: others' vectors", 1.0, CONTROL)))
    return rows, *keep(folder, "staleness", rows, "share of each history that the profile has seen")


def coldstart(arms: Arms, folder: Path, lengths: tuple[int, ...] = LENGTHS) -> Kept:
    """The gain by the length of the history that the student answers from."""
    plain = arms.run("plain", 0.0, plain=True)
    taught = {"profiles": arms.run("profiles", 0.0), "control": arms.run("control", 0.0, CONTROL)}
    users = plain.per_user[0].select("user_id", "history_length")
    rows = []
    for low, high in pairwise(lengths):
        some = users.filter((pl.col("history_length") >= low) & (pl.col("history_length") < high))
        if len(some) < 2:
            continue
        last = f"{high - 1}" if high < lengths[-1] else "more"
        middle = float(some["history_length"].cast(pl.Float64).median() or low)  # type: ignore[arg-type]
        for kind, arm in taught.items():
            rows.append(against(plain, Arm(f"{kind}: {low} to {last}", middle, arm.outcomes), some))
    return rows, *keep(folder, "coldstart", rows, "length of the history (median of the group)", log_x=True)


def robustness(arms: Arms, folder: Path, shares: tuple[float, ...] = DAMAGED) -> Kept:
    """A share of the users taught by somebody else's profile, or by nonsense."""
    plain = arms.run("plain", 0.0, plain=True)
    rows = [against(plain, arms.run("unharmed: 0% of the users", 0.0))]
    for kind in ("others", "nonsense"):
        for share in shares:
            keys = [f"profiles.damage.share={share}", f"profiles.damage.kind={kind}"]
            rows.append(against(plain, arms.run(f"{kind}: {share:.0%} of the users", share, keys)))
    return rows, *keep(folder, "robustness", rows, "share of users with a wrong profile")


EXPERIMENTS = {"staleness": staleness, "coldstart": coldstart, "robustness": robustness}
