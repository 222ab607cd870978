"""Requests of the serving benchmark with their expected answers, and the loads that they are sent in."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from benchmarks import synthetic_data
from benchmarks.load import Run, post
from benchmarks.load_report import Report
from benchmarks.serve_process import Server
from retort.shared.history.history_load import load_histories
from retort.shared.model.bundle import Bundle, open_bundle

K = 10
USERS = {12_000: 2_000, 100_000: 500, 1_000_000: 200}

Histories = Sequence[tuple[str, list[tuple[str, int]]]]


class Expected:
    """Results of the graph for each request, computed before the measurement."""

    def __init__(self, bundle: Bundle, users: Histories) -> None:
        scorer, index = bundle.scorer(), bundle.item_index
        self.degraded = 0
        self.checked = 0
        self._answers: list[tuple[list[str], np.ndarray]] = []
        for _, events in users:
            items, scores = scorer.top_k([index.indexes(item for item, _ in events)], K).row(0)
            self._answers.append(([index.id(int(item)) for item in items], scores))

    def __call__(self, index: int, body: bytes) -> bool:
        self.checked += 1
        answer = orjson.loads(body)
        if answer.get("source", "student") != "student":
            self.degraded += 1
            return True
        ids, scores = self._answers[index]
        got = [item["item_id"] for item in answer["items"]]
        if len(got) != len(ids):
            return False
        # The order of additions differs between batches, so items with almost equal scores may be exchanged.
        close = np.allclose([item["score"] for item in answer["items"]], scores, rtol=1e-4, atol=1e-5)
        return bool(close) and len(set(got) - set(ids)) <= 1

    def take_counts(self) -> tuple[int, int]:
        """Return (degraded, checked) answers since the last call."""
        counts = self.degraded, self.checked
        self.degraded = self.checked = 0
        return counts


@dataclass(frozen=True)
class Workload:
    """Requests of one catalogue for a Redis that has the users' histories.

    Attributes:
        bundle: Sealed bundle.
        n_items: Size of its catalogue.
        redis_url: Redis with the histories.
        requests: One request a user.
        expected: Checks answers.
        warm_up_s: Time before each measurement.
        seconds: Time of each measurement.
    """

    bundle: Path
    n_items: int
    redis_url: str
    requests: Sequence[bytes]
    expected: Expected
    warm_up_s: float
    seconds: float

    @property
    def measured_share(self) -> float:
        """Share of a run that is measured; the warm-up has the same load."""
        return self.seconds / (self.seconds + self.warm_up_s)

    def closed(self, server: Server, connections: int) -> Report:
        """Each connection sends the next request after its response."""
        run = Run(self.requests, self.expected, watch_pid=server.pid)
        return asyncio.run(run.closed(server.port, connections, self.warm_up_s, self.seconds))

    def open(self, server: Server, connections: int, rate: float) -> Report:
        """Requests are due at random times of this rate; at most `connections` are in flight."""
        run = Run(self.requests, self.expected, watch_pid=server.pid)
        return asyncio.run(run.open(server.port, connections, rate, self.warm_up_s, self.seconds))

    def row(self, report: Report, **first: object) -> dict[str, object]:
        """A row of a table; `degraded` is the share of the answers that were checked since the last row."""
        degraded, checked = self.expected.take_counts()
        return {
            **first,
            "answers/s": round(report.answers_per_s),
            "server CPU µs/answer": round(report.cpu_us_per_answer),
            "p50 ms": round(report.quantile_ms(0.5), 2),
            "p90 ms": round(report.quantile_ms(0.9), 2),
            "p99 ms": round(report.quantile_ms(0.99), 2),
            "failed": report.failures,
            "wrong": report.wrong,
            "degraded": round(degraded / max(checked, 1), 3),
        }


def load(bundle: Path, n_items: int, redis_url: str, warm_up_s: float, seconds: float) -> Workload:
    """Write the users' histories to Redis, and compute the expected answers."""
    users = list(synthetic_data.histories(USERS.get(n_items, 500), n_items))
    load_histories(redis_url, users)
    expected = Expected(open_bundle(bundle), users)
    requests = [post("/recommend", orjson.dumps({"user_id": user_id, "k": K})) for user_id, _ in users]
    return Workload(bundle, n_items, redis_url, requests, expected, warm_up_s, seconds)
