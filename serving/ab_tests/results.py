"""Result of an A/B test: click-through of each variant, its difference from the first one, and the days still needed.

The click-through is a ratio of sums over users (clicks by lists), because the lists of one user are not independent:
its variance is that of the delta method (Deng, Knoblich and Lu, KDD 2018, arXiv 1803.06336). Where only counts of lists
are known, lists are the units, and the intervals are too narrow for users who see many lists.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

_Z = 1.959964  # of a 95 % interval
# The sum of the quantiles of a two-sided test at 5 % and of a power of 80 %.
_DETECTED = _Z + 0.841621
# The traffic of a shorter time says little about that of a day.
_LEAST_DAYS = 1 / 24


@dataclass(frozen=True)
class Units:
    """Lists and clicks of each unit of one variant; a unit is a user or session, or a single list."""

    lists: NDArray[np.float64]
    clicks: NDArray[np.float64]


@dataclass(frozen=True)
class Arm:
    """Result of one variant.

    Attributes:
        rate: Clicks per list; None without lists.
        low: Lower end of the 95 % interval of the rate.
        high: Upper end.
        difference: Rate minus that of the first variant; None for the first.
        difference_low: Lower end of its 95 % interval.
        difference_high: Upper end.
        days_needed: Further days until a change of the effect's size would be found with a power of 80 %; 0 when it
            would be found now, None when that cannot be estimated yet.
    """

    name: str
    users: int | None
    lists: int
    clicks: int
    rate: float | None = None
    low: float | None = None
    high: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    days_needed: float | None = None


def units_of(lists: Iterable[tuple[str, str, int]], clicks: Iterable[tuple[str, str]]) -> dict[str, Units]:
    """Group (variant, unit, number of lists) and the (variant, unit) of each click by variant."""
    counts: dict[str, dict[str, list[float]]] = defaultdict(dict)
    for variant, unit, number in lists:
        counts[variant].setdefault(unit, [0.0, 0.0])[0] += number
    for variant, unit in clicks:
        if (own := counts[variant].get(unit)) is not None:  # a click on a list that is no longer stored is left out
            own[1] += 1
    tables = {variant: np.array(list(own.values())).reshape(-1, 2) for variant, own in counts.items()}
    return {variant: Units(table[:, 0], table[:, 1]) for variant, table in tables.items()}


def compare_arms(
    units: Mapping[str, Units], names: Iterable[str], *, by_user: bool, days: float | None, effect: float
) -> list[Arm]:
    """Compare each variant with the first.

    Args:
        units: Units by variant; one that was not shown yet has none.
        names: All variants, the control first.
        by_user: Whether units are users; otherwise lists.
        days: Days since the first list; None when unknown.
        effect: Change, as a share of the first variant's rate, that shall be found.
    """
    ratios = {name: _ratio(units[name]) if name in units else None for name in names}
    names = list(ratios)
    control = ratios[names[0]] if names else None
    return [
        _arm(name, units.get(name), ratios[name], None if name == names[0] else control, by_user, days, effect)
        for name in names
    ]


def _ratio(units: Units) -> tuple[float, float] | None:
    """Return clicks per list and the variance of this ratio; None without lists."""
    n_units, n_lists = len(units.lists), units.lists.sum()
    if n_units < 2 or not n_lists:
        return None
    rate = float(units.clicks.sum() / n_lists)
    residual = units.clicks - rate * units.lists
    return rate, float(residual.var(ddof=1) * n_units / n_lists**2)


def _arm(
    name: str,
    units: Units | None,
    own: tuple[float, float] | None,
    control: tuple[float, float] | None,
    by_user: bool,
    days: float | None,
    effect: float,
) -> Arm:
    if units is None:
        return Arm(name, 0 if by_user else None, 0, 0)
    counts = (name, len(units.lists) if by_user else None, int(units.lists.sum()), int(units.clicks.sum()))
    if own is None:
        return Arm(*counts)
    rate, half = own[0], _Z * math.sqrt(own[1])
    arm = Arm(*counts, rate, max(0.0, rate - half), rate + half)
    if control is None:
        return arm
    difference, error = rate - control[0], math.sqrt(own[1] + control[1])
    return replace(
        arm,
        difference=difference,
        difference_low=difference - _Z * error,
        difference_high=difference + _Z * error,
        days_needed=_days_needed(control[0], error, days, effect),
    )


def _days_needed(rate: float, error: float, days: float | None, effect: float) -> float | None:
    """With the same traffic a day, the error falls with the square root of time."""
    if days is None or days < _LEAST_DAYS or not rate or not error:
        return None
    return max(0.0, days * ((_DETECTED * error / (effect * rate)) ** 2 - 1))


def split_p(counts: Mapping[str, int], shares: Mapping[str, float]) -> float | None:
    """Return the p of the test that units are split by the shares (Pearson's χ²); None without enough units.

    A p below 0.001 means that something other than the assignment decides who is counted.
    """
    total = sum(counts.values())
    expected = {name: total * share for name, share in shares.items() if share > 0}
    if len(expected) < 2 or min(expected.values()) < 5:
        return None
    statistic = sum((counts.get(name, 0) - value) ** 2 / value for name, value in expected.items())
    freedom = len(expected) - 1
    if freedom == 1:
        return math.erfc(math.sqrt(statistic / 2))
    # the approximation of Wilson and Hilferty
    variance = 2 / (9 * freedom)
    return 0.5 * math.erfc(((statistic / freedom) ** (1 / 3) - 1 + variance) / math.sqrt(2 * variance))
