"""Measurements of one run of the load generator."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Report:
    """Measurements of a run; latencies in seconds."""

    latencies_s: list[float] = field(default_factory=list)
    # of the same responses, from the time of sending: without the wait for a free connection in an open loop
    sent_latencies_s: list[float] = field(default_factory=list)
    # refused, answered with an error, or lost
    failures: int = 0
    # of these: connections that were closed during a request or could not be opened
    lost: int = 0
    # idle connections that were closed by either side: not a failure
    closed_while_idle: int = 0
    wrong: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    # refusals (429, 503) without Retry-After
    refused_without_retry_after: int = 0
    # requests accepted and answered while another one waited; a bounded queue limits it on any machine
    most_ahead: int = 0
    seconds: float = 0.0
    server_cpu_s: float = 0.0

    @property
    def answers_per_s(self) -> float:
        return len(self.latencies_s) / self.seconds

    @property
    def cpu_us_per_answer(self) -> float:
        """CPU time of the server for each response, in µs."""
        return self.server_cpu_s * 1e6 / max(1, len(self.latencies_s))

    def quantile_ms(self, q: float) -> float:
        return float(np.quantile(self.latencies_s, q) * 1000) if self.latencies_s else float("nan")

    def sent_quantile_ms(self, q: float) -> float:
        return float(np.quantile(self.sent_latencies_s, q) * 1000) if self.sent_latencies_s else float("nan")
