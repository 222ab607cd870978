"""Lists and clicks of an A/B test: of each user from the database, or in all from the metrics of this server."""

from dataclasses import dataclass

import numpy as np
from sqlalchemy import Engine, func, select

from retort.serving.ab_tests.results import Units, units_of
from retort.serving.runtime.metrics import Metrics
from retort.serving.schemas.tokens import read_impression
from retort.shared.db.models import Event, Exposure
from retort.shared.db.session import reading

# Newest rows that are read; a long test keeps its newest part.
MAX_EXPOSURES = 1_000_000
MAX_EVENTS = 500_000


@dataclass(frozen=True)
class Counts:
    """Units by variant.

    Attributes:
        by_user: Whether units are users and sessions; otherwise lists.
        since_ms: Time of the first list; None when unknown.
    """

    units: dict[str, Units]
    by_user: bool
    since_ms: int | None


def read_counts(engine: Engine, tenant: str, test: str, event_type: str) -> Counts | None:
    """Count lists and attributed events of each user of a test; None when the database has no list of it.

    Only first pages count as lists, and several clicks on one list count once.
    """
    with reading(engine) as session:
        newest = session.scalar(select(func.max(Exposure.id))) or 0
        unit = func.coalesce(Exposure.user_id, Exposure.session_id)
        shown = session.execute(
            select(Exposure.variant, unit, func.count(), func.min(Exposure.shown_ms))
            .where(
                Exposure.id > newest - MAX_EXPOSURES,
                Exposure.tenant == tenant,
                Exposure.experiment == test,
                Exposure.first_rank <= 1,
                Exposure.variant.is_not(None),
                unit.is_not(None),
            )
            .group_by(Exposure.variant, unit)
        ).all()
        if not shown:
            return None
        since_ms = min(row[3] for row in shown)
        last = session.scalar(select(func.max(Event.id))) or 0
        events = session.execute(
            select(func.coalesce(Event.user_id, Event.session_id), Event.impressions).where(
                Event.id > last - MAX_EVENTS,
                Event.tenant == tenant,
                Event.event_type == event_type,
                Event.accepted_ms >= since_ms,
            )
        ).all()
    clicks = {(token, unit) for unit, tokens in events for token in tokens or ()}
    of_test = ((read_impression(token), unit) for token, unit in clicks)
    attributed = [(shown.variant, unit) for shown, unit in of_test if shown.experiment == test and unit is not None]
    return Counts(units_of(((str(row[0]), row[1], row[2]) for row in shown), attributed), True, since_ms)


def counts_of_metrics(metrics: Metrics, test: str, event_type: str) -> Counts:
    """Count lists and attributed events since the start of this server, over all its workers; lists are the units."""
    lists: dict[str, float] = {}
    clicks: dict[str, float] = {}
    for labels, value in metrics.samples("retort_exposures_total"):
        if labels["experiment"] == test:
            lists[labels["variant"]] = lists.get(labels["variant"], 0) + value
    for labels, value in metrics.samples("retort_exposed_events_total"):
        if labels["experiment"] == test and labels["type"] == event_type:
            clicks[labels["variant"]] = clicks.get(labels["variant"], 0) + value
    return Counts({name: _single_lists(count, clicks.get(name, 0)) for name, count in lists.items()}, False, None)


def _single_lists(lists: float, clicks: float) -> Units:
    clicked = np.zeros(int(lists))
    clicked[: int(min(lists, clicks))] = 1
    return Units(np.ones(int(lists)), clicked)
