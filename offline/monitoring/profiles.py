"""How old profiles are, and what they have cost: a look over the whole table, so not at every scrape."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any

import sqlalchemy as sa
from prometheus_client.metrics_core import Metric
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from retort.offline.monitoring.families import ages, gauge
from retort.shared.base.errors import StoreError
from retort.shared.db.models import DONE, Profile, now
from retort.shared.db.session import reading

_logger = logging.getLogger(__name__)
_DAY_S = 86_400.0
_BOUNDS_S = tuple(days * _DAY_S for days in (1 / 24, 1 / 4, 1, 3, 7, 14, 30, 60, 90, 180, 365))
# A look that takes long is taken seldom: the database has other work.
_REST_FOR_EACH_SECOND = 20.0
_A_MOMENT_S = 2.0


def profile_metrics(engine: Engine) -> Iterator[Metric]:
    """Ages of each user's newest profile; tokens and cost of all profiles by model. StoreError: no database."""
    with reading(engine) as session:
        counts = session.execute(_younger_than(now())).one()
        used = session.execute(_used()).all()
    yield _ages([int(count or 0) for count in counts])
    yield from _used_metrics(used)


def _younger_than(at: datetime) -> sa.Executable:
    """One row: of how many users the newest profile is younger than each bound, and of how many there is one."""
    written = sa.func.max(Profile.created_at).label("at")
    newest = sa.select(written).filter_by(status=DONE).group_by(Profile.tenant, Profile.user_id).subquery()
    since = [at - timedelta(seconds=bound) for bound in _BOUNDS_S]
    return sa.select(*(sa.func.sum(sa.case((newest.c.at >= one, 1), else_=0)) for one in since), sa.func.count())


def _ages(counts: list[int]) -> Metric:
    # no sum: the quantiles want none, and it would be one more computation in each database's own dialect
    found = ages()
    bounds = [str(bound) for bound in _BOUNDS_S] + ["+Inf"]
    found.add_metric([], list(zip(bounds, counts, strict=True)), sum_value=None)
    return found


def _used() -> sa.Executable:
    sums = [sa.func.sum(one) for one in (Profile.prompt_tokens, Profile.completion_tokens, Profile.cost_usd)]
    return sa.select(Profile.model, sa.func.count(), *sums).group_by(Profile.model)


def _used_metrics(rows: Iterable[Any]) -> Iterator[Metric]:
    texts = gauge("retort_profiles")
    tokens = gauge("retort_profile_tokens")
    cost = gauge("retort_profile_cost_usd")
    for model, count, prompt, completion, usd in rows:
        texts.add_metric([model], count)
        tokens.add_metric([model, "prompt"], float(prompt or 0))
        tokens.add_metric([model, "completion"], float(completion or 0))
        cost.add_metric([model], float(usd or 0))
    yield from (texts, tokens, cost)


class PeriodicCollector:
    """Takes a look in a thread of its own, again and again, and keeps what it saw last for whoever asks."""

    def __init__(self, look: Callable[[], Iterator[Metric]], every_s: float) -> None:
        self._look, self._every_s = look, every_s
        self._seen: list[Metric] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="profiles", daemon=True)

    def __enter__(self) -> "PeriodicCollector":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        # a look that takes longer may go down with the process: it only reads
        self._thread.join(_A_MOMENT_S)

    def seen(self) -> list[Metric]:
        """What the last look saw; nothing before the first has ended, or after one that failed."""
        return self._seen

    def _run(self) -> None:
        rest_s = 0.0
        while not self._ended.wait(rest_s):
            began_s = time.monotonic()
            try:
                self._seen = list(self._look())
            except (StoreError, SQLAlchemyError) as error:
                _logger.warning("profiles were not looked at: %s", error)
                self._seen = []
            rest_s = max(self._every_s, (time.monotonic() - began_s) * _REST_FOR_EACH_SECOND)
