"""`retort metrics`: answers Prometheus for what no request shows. It only reads and keeps nothing."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from retort.offline.monitoring.families import gauge
from retort.offline.monitoring.profiles import PeriodicCollector, profile_metrics
from retort.offline.monitoring.queues import queue_metrics, stream_metrics
from retort.offline.monitoring.tables import connection_metrics, refresh_metrics, run_metrics
from retort.shared.base.errors import RetortError, StoreError
from retort.shared.base.settings import Settings
from retort.shared.db.session import open_database

_logger = logging.getLogger(__name__)
Look = Callable[[], Iterator[Metric]]


class StoreCollector(Collector):
    """One look into each store at every scrape. A store that is away takes its own metrics with it, and is named."""

    def __init__(self, looks: dict[str, Look]) -> None:
        self._looks = looks

    def collect(self) -> Iterator[Metric]:
        """The families of all stores that answered, and which did."""
        answered = gauge("retort_store_answered")
        for store, look in self._looks.items():
            try:
                seen = list(look())
            except (StoreError, RedisError, SQLAlchemyError, OSError) as error:
                _logger.warning("the %s did not answer: %s", store, error)
                seen, up = [], 0
            else:
                up = 1
            answered.add_metric([store], up)
            yield from seen
        yield answered


def readers_of(settings: Settings, engine: Engine, seldom: Callable[[], list[Metric]]) -> dict[str, Look]:
    """What there is to see with these settings. seldom: what was seen of the profiles."""

    def tables() -> Iterator[Metric]:
        yield from refresh_metrics(engine)
        yield from run_metrics(engine)
        yield from connection_metrics(engine)
        yield from seldom()

    found: dict[str, Look] = {"database": tables}
    broker, histories = settings.redis_url, settings.histories_url
    if broker is not None:
        found["queue"] = lambda: queue_metrics(broker)
    if histories is not None:
        found["streams"] = lambda: stream_metrics(histories)
    return found


def serve_metrics(host: str, port: int, profiles_every_s: float) -> None:
    """Answer until SIGTERM or Ctrl-C."""
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    settings = Settings()
    engine = open_database(settings.database)
    with PeriodicCollector(lambda: profile_metrics(engine), profiles_every_s) as seldom:
        registry = CollectorRegistry()
        registry.register(StoreCollector(readers_of(settings, engine, seldom.seen)))
        try:
            server, thread = start_http_server(port, host, registry)
        except OSError as error:
            raise RetortError(f"{host}:{port} cannot be bound ({error.strerror}); choose --host and --port.") from None
        _logger.info("metrics at http://%s:%s/metrics", host, server.server_port)
        told.wait()
        server.shutdown()
        thread.join()
