"""Metrics of profiles: age, tokens and cost. They read the whole table, so they are not collected at every scrape."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from prometheus_client.metrics_core import Metric
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from retort.offline.common.background import BackgroundThread
from retort.offline.monitoring.families import ages, gauge
from retort.shared.base.errors import StoreError
from retort.shared.db.models import DONE, Profile, now
from retort.shared.db.session import reading

_logger = logging.getLogger(__name__)
_DAY_S = 86_400.0
_BOUNDS_S = tuple(days * _DAY_S for days in (1 / 24, 1 / 4, 1, 3, 7, 14, 30, 60, 90, 180, 365))
# Pause after a collection, as a multiple of its duration: a slow query must not occupy the database.
_PAUSE_FACTOR = 20.0
_JOIN_S = 2.0


def profile_metrics(engine: Engine) -> Iterator[Metric]:
    """Read the ages of each user's newest profile, and tokens and cost of all profiles by model. Raises StoreError."""
    with reading(engine) as session:
        counts = session.execute(_younger_than(now())).one()
        usage = session.execute(_usage()).all()
    yield _ages([int(count or 0) for count in counts])
    yield from _usage_metrics(usage)


def _younger_than(at: datetime) -> sa.Executable:
    """Select one row: the users whose newest profile is younger than each bound, and all users with a profile."""
    written = sa.func.max(Profile.created_at).label("at")
    newest = sa.select(written).filter_by(status=DONE).group_by(Profile.tenant, Profile.user_id).subquery()
    since = [at - timedelta(seconds=bound) for bound in _BOUNDS_S]
    return sa.select(*(sa.func.sum(sa.case((newest.c.at >= bound, 1), else_=0)) for bound in since), sa.func.count())


def _ages(counts: list[int]) -> Metric:
    # no sum: quantiles need none, and it would need another expression for each database
    family = ages()
    bounds = [str(bound) for bound in _BOUNDS_S] + ["+Inf"]
    family.add_metric([], list(zip(bounds, counts, strict=True)), sum_value=None)
    return family


def _usage() -> sa.Executable:
    sums = [sa.func.sum(column) for column in (Profile.prompt_tokens, Profile.completion_tokens, Profile.cost_usd)]
    return sa.select(Profile.model, sa.func.count(), *sums).group_by(Profile.model)


def _usage_metrics(rows: Iterable[Any]) -> Iterator[Metric]:
    texts = gauge("retort_profiles")
    tokens = gauge("retort_profile_tokens")
    cost = gauge("retort_profile_cost_usd")
    for model, count, prompt, completion, usd in rows:
        texts.add_metric([model], count)
        tokens.add_metric([model, "prompt"], float(prompt or 0))
        tokens.add_metric([model, "completion"], float(completion or 0))
        cost.add_metric([model], float(usd or 0))
    yield from (texts, tokens, cost)


class PeriodicCollector(BackgroundThread):
    """Collector that reads metrics periodically in a thread of its own and keeps the latest ones."""

    def __init__(self, read: Callable[[], Iterator[Metric]], every_s: float) -> None:
        # a longer collection may end with the process: it only reads
        super().__init__("profiles", _JOIN_S)
        self._read, self._every_s = read, every_s
        self._latest: list[Metric] = []

    def latest(self) -> list[Metric]:
        """Return the metrics of the latest collection; none before the first one, or after one that failed."""
        return self._latest

    def _run(self) -> None:
        pause_s = 0.0
        while not self._ended.wait(pause_s):
            started_s = time.monotonic()
            try:
                self._latest = list(self._read())
            except (StoreError, SQLAlchemyError) as error:
                _logger.warning("metrics of profiles were not collected: %s", error)
                self._latest = []
            pause_s = max(self._every_s, (time.monotonic() - started_s) * _PAUSE_FACTOR)
