"""The server of `retort metrics`. It only reads the stores and stores nothing itself."""

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
# Prometheus gives up a slow scrape and sends the next: statements that wait for a lock must not pile up.
SCRAPE_TIMEOUT_S = 5.0
# Metrics of profiles read the whole table, in a thread of their own.
PROFILES_TIMEOUT_S = 300.0
ReadMetrics = Callable[[], Iterator[Metric]]


class StoreCollector(Collector):
    """Collector that reads each store at every scrape. The metrics of a store that is down are missing then."""

    def __init__(self, readers: dict[str, ReadMetrics]) -> None:
        self._readers = readers

    def collect(self) -> Iterator[Metric]:
        """Collect the families of all stores that answered, and whether each answered."""
        answered = gauge("retort_store_answered")
        for store, read in self._readers.items():
            try:
                families = list(read())
            except (StoreError, RedisError, SQLAlchemyError, OSError) as error:
                _logger.warning("the %s did not answer: %s", store, error)
                families, up = [], 0
            else:
                up = 1
            answered.add_metric([store], up)
            yield from families
        yield answered


def readers_of(settings: Settings, engine: Engine, profiles: Callable[[], list[Metric]]) -> dict[str, ReadMetrics]:
    """Return the reader of each configured store. profiles: returns the latest metrics of profiles."""

    def tables() -> Iterator[Metric]:
        yield from refresh_metrics(engine)
        yield from run_metrics(engine)
        yield from connection_metrics(engine)
        yield from profiles()

    readers: dict[str, ReadMetrics] = {"database": tables}
    broker, histories = settings.redis_url, settings.histories_url
    if broker is not None:
        readers["queue"] = lambda: queue_metrics(broker)
    if histories is not None:
        readers["streams"] = lambda: stream_metrics(histories)
    return readers


def open_for_metrics(database_url: str) -> tuple[Engine, Engine]:
    """Open the database for what is read at every scrape, and for the metrics of profiles."""
    scraped = open_database(database_url, statement_timeout_s=SCRAPE_TIMEOUT_S)
    return scraped, open_database(database_url, statement_timeout_s=PROFILES_TIMEOUT_S)


def serve_metrics(host: str, port: int, profiles_every_s: float) -> None:
    """Serve metrics until SIGTERM or Ctrl-C. Raises RetortError if the address cannot be bound."""
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    settings = Settings()
    engine, slow_engine = open_for_metrics(settings.database)
    with PeriodicCollector(lambda: profile_metrics(slow_engine), profiles_every_s) as profiles:
        registry = CollectorRegistry()
        registry.register(StoreCollector(readers_of(settings, engine, profiles.latest)))
        try:
            server, thread = start_http_server(port, host, registry)
        except OSError as error:
            raise RetortError(
                f"{host}:{port} cannot be bound ({error.strerror}); choose another --host or --port."
            ) from None
        _logger.info("metrics at http://%s:%s/metrics", host, server.server_port)
        stopped.wait()
        server.shutdown()
        thread.join()
