"""Numbers of a history: what code counts and prompts state, so that no model has to count.

Shares of categories with their lift over all users, decades, ratings, the change from the first to the last third,
repeats, and dates where clock times exist. Each number is stated once.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from statistics import fmean

from retort.offline.profiles.history import Event
from retort.offline.profiles.item_facts import PERIOD, Facet
from retort.offline.profiles.population import Population

_MIN_EVENTS = 4  # fewer are counted at a glance
_MIN_EVENTS_FOR_THIRDS = 9
_MOST_FREQUENT = 5  # values of an attribute that are stated, and
_MOST_UNUSUAL = 3  # further ones whose share differs most from that of all users
_UNUSUAL_LIFT = 1.5
_COMMON_SHARE = 0.95  # a category that nearly all items have describes nobody
_MIN_CHANGE = 0.15
_MIN_RATING_DIFFERENCE = 0.3
_DAY_MS = 86_400_000


def history_numbers(events: Sequence[Event], population: Population | None = None) -> list[str]:
    """Return the numbers of a history, one kind a line; none for a few events.

    Args:
        population: Categories of all users; None: shares are stated without their lift.
    """
    if len(events) < _MIN_EVENTS:
        return []
    values = [event.facts.facets for event in events]
    lines = [_size(events), *_shares(values, population), *_ratings(events, values, population), *_change(values)]
    return [line for line in lines if line]


def _size(events: Sequence[Event]) -> str:
    n_distinct = len({event.facts.title for event in events})
    parts = [f"choices: {len(events)}"]
    if n_distinct < len(events):
        parts.append(f"repeated: {_percent(1 - n_distinct / len(events))} %")
    return "; ".join([*parts, *_dates(events)])


def _dates(events: Sequence[Event]) -> list[str]:
    days = sorted({event.time_ms // _DAY_MS for event in events if event.time_ms is not None})
    if not days or any(event.time_ms is None for event in events):
        return []
    first, last = (datetime.fromtimestamp(day * _DAY_MS / 1000, UTC) for day in (days[0], days[-1]))
    spans = [f"{first:%Y-%m} to {last:%Y-%m}" if f"{first:%Y%m}" != f"{last:%Y%m}" else f"{first:%Y-%m}"]
    spans.append(f"on {len(days)} day{'s' if len(days) > 1 else ''}")
    longest = max((later - earlier for earlier, later in pairwise(days)), default=0)
    return [*spans, f"longest gap {longest} days"] if longest > 1 else spans


def _shares(values: Sequence[Sequence[Facet]], population: Population | None) -> Iterator[str]:
    """A line for each attribute: its most frequent values, then further ones that are unusual for this user."""
    shares = _share_of(values)
    by_name: dict[str, list[Facet]] = defaultdict(list)
    for facet in sorted(shares, key=lambda facet: (-shares[facet], facet)):
        if population is None or population.shares.get(facet, 0.0) < _COMMON_SHARE:
            by_name[facet[0]].append(facet)
    for name, ranked in by_name.items():
        repeated = [facet for facet in ranked if shares[facet] * len(values) >= 2]
        chosen = repeated[:_MOST_FREQUENT]
        if population is not None:
            lifts = {facet: population.lift(facet, shares[facet]) or 0.0 for facet in repeated[_MOST_FREQUENT:]}
            unusual = sorted(lifts, key=lambda facet: (-lifts[facet], facet))[:_MOST_UNUSUAL]
            chosen += [facet for facet in unusual if lifts[facet] >= _UNUSUAL_LIFT]
        if chosen:
            stated = ", ".join(_stated(facet, shares[facet], population) for facet in chosen)
            yield f"{'decades' if name == PERIOD else name}: {stated}"


def _stated(facet: Facet, share: float, population: Population | None) -> str:
    lift = None if population is None else population.lift(facet, share)
    text = f"{facet[1]} {_percent(share)} %"
    return text if lift is None else f"{text} ×{lift:.1f}"


def _ratings(
    events: Sequence[Event], values: Sequence[Sequence[Facet]], population: Population | None
) -> Iterator[str]:
    pairs = zip(events, values, strict=True)
    rated = [(event.weight, of_event) for event, of_event in pairs if event.weight is not None]
    weights = [weight for weight, _ in rated]
    if len(weights) < _MIN_EVENTS or min(weights) == max(weights):
        return
    mean = fmean(weights)
    usual = population.mean_weight if population is not None else None
    among = "" if usual is None else f" (all users {usual:.1f})"
    of_facet: dict[Facet, list[float]] = defaultdict(list)
    for weight, of_event in rated:
        for facet in of_event:
            of_facet[facet].append(weight)
    differences = {facet: fmean(given) - mean for facet, given in of_facet.items() if len(given) >= 3}
    clear = [facet for facet in differences if abs(differences[facet]) >= _MIN_RATING_DIFFERENCE]
    clear.sort(key=lambda facet: (-abs(differences[facet]), facet))
    stated = ", ".join(f"{facet[1]} {differences[facet]:+.1f}" for facet in clear[:_MOST_FREQUENT])
    yield f"rating: mean {mean:.1f}{among}" + (f"; to the own mean: {stated}" if stated else "")


def _change(values: Sequence[Sequence[Facet]]) -> Iterator[str]:
    if len(values) < _MIN_EVENTS_FOR_THIRDS:
        return
    third = len(values) // 3
    early, late = _share_of(values[:third]), _share_of(values[-third:])
    change = {facet: late.get(facet, 0.0) - early.get(facet, 0.0) for facet in early.keys() | late.keys()}
    largest = sorted(change, key=lambda facet: (-abs(change[facet]), facet))[:_MOST_FREQUENT]
    stated = [
        f"{facet[1]} {_percent(early.get(facet, 0.0))} → {_percent(late.get(facet, 0.0))} %"
        for facet in largest
        if abs(change[facet]) >= _MIN_CHANGE
    ]
    if stated:
        yield f"first to last third: {', '.join(stated)}"


def _share_of(values: Sequence[Sequence[Facet]]) -> dict[Facet, float]:
    counter = Counter(facet for of_event in values for facet in of_event)
    return {facet: n / len(values) for facet, n in counter.items()}


def _percent(share: float) -> int:
    return round(100 * share)
