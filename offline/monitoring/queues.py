"""Celery's queues and serving's streams, as their Redis holds them."""

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
# kombu's own name for what workers have taken and not acknowledged, of all queues together
_TAKEN = "unacked"
_STREAMS = {"events": keys.event_stream(), "exposures": keys.exposure_stream()}


def queue_metrics(broker_url: str) -> Iterator[Metric]:
    """How many tasks wait in each queue, for how long, and how many are in workers' hands. RedisError: no broker."""
    waiting, oldest = gauge("retort_queue_tasks"), gauge("retort_queue_oldest_seconds")
    taken = gauge("retort_queue_taken_tasks")
    with Redis.from_url(broker_url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S) as client:
        for queue in QUEUES:
            waiting.add_metric([queue], client.llen(queue))
            # senders push at the left, workers take at the right
            oldest.add_metric([queue], _waited_s(client.lindex(queue, -1)))
        taken.add_metric([], client.hlen(_TAKEN))
    yield from (waiting, oldest, taken)


def _waited_s(message: Any) -> float:
    """Since a message was sent; 0 where there is none, or where another program has sent it."""
    sent_at = orjson.loads(message)["headers"].get(SENT_AT) if message else None
    return 0.0 if sent_at is None else max(0.0, time.time() - float(sent_at))


def stream_metrics(histories_url: str) -> Iterator[Metric]:
    """What waits on serving's streams for the drain. RedisError: no Redis."""
    entries = gauge("retort_stream_entries")
    with open_client(histories_url, timeout_s=_TIMEOUT_S) as client:
        for name, key in _STREAMS.items():
            entries.add_metric([name], client.xlen(key))
    yield entries
