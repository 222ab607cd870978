"""Metrics of Celery's queues and serving's streams, read from their Redis."""

import time
from collections.abc import Iterator
from typing import Any

import orjson
from prometheus_client.metrics_core import Metric
from redis import Redis

from retort.offline.jobs.celery_app import QUEUES, SENT_AT
from retort.offline.monitoring.families import gauge
from retort.shared.history import keys
from retort.shared.history.redis_clients import open_client

_TIMEOUT_S = 3.0
# kombu's key of messages that workers have received and not acknowledged, of all queues
_UNACKNOWLEDGED = "unacked"
_STREAMS = {"events": keys.event_stream(), "exposures": keys.exposure_stream()}


def queue_metrics(broker_url: str) -> Iterator[Metric]:
    """Read the waiting tasks of each queue, their waiting time, and the received tasks. Raises RedisError."""
    waiting, oldest = gauge("retort_queue_tasks"), gauge("retort_queue_oldest_seconds")
    taken = gauge("retort_queue_taken_tasks")
    with Redis.from_url(broker_url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S) as client:
        for queue in QUEUES:
            waiting.add_metric([queue], client.llen(queue))
            # senders push on the left, workers pop on the right
            oldest.add_metric([queue], _waited_s(client.lindex(queue, -1)))
        taken.add_metric([], client.hlen(_UNACKNOWLEDGED))
    yield from (waiting, oldest, taken)


def _waited_s(message: Any) -> float:
    """Return the seconds since a message was sent; 0 without a message, or for one that is not of this program."""
    try:
        return max(0.0, time.time() - float(orjson.loads(message)["headers"][SENT_AT]))
    except (ValueError, TypeError, KeyError, IndexError):
        return 0.0


def stream_metrics(histories_url: str) -> Iterator[Metric]:
    """Read the entries of serving's streams that wait for the drain. Raises RedisError."""
    entries = gauge("retort_stream_entries")
    with open_client(histories_url, timeout_s=_TIMEOUT_S) as client:
        for name, key in _STREAMS.items():
            entries.add_metric([name], client.xlen(key))
    yield entries
