"""A small HTTP load generator: one thread, keep-alive connections, raw bytes.

Closed loop: each connection sends as soon as it has its answer. Open loop: requests are due at fixed times whatever the
server does, and latency counts from when a request was due, so that a stall is not hidden by the generator's waiting.
"""

import asyncio
import os
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

TAKEN = (200, 202)
REFUSALS = (429, 503)

Check = Callable[[int, bytes], bool]  # (which request, answer's body) → right?


@dataclass
class Report:
    """What a run saw; latencies in seconds."""

    latencies_s: list[float] = field(default_factory=list)
    failures: int = 0
    wrong: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    # refusals (429, 503) that do not say when to come back
    refused_without_date: int = 0
    # requests that were taken and answered while another one waited: a bounded queue bounds it on any machine
    most_ahead: int = 0
    seconds: float = 0.0
    server_cpu_s: float = 0.0

    @property
    def answers_per_s(self) -> float:
        return len(self.latencies_s) / self.seconds

    @property
    def cpu_us_per_answer(self) -> float:
        """What an answer costs the server, whoever else uses the machine."""
        return self.server_cpu_s * 1e6 / max(1, len(self.latencies_s))

    def quantile_ms(self, q: float) -> float:
        return float(np.quantile(self.latencies_s, q) * 1000) if self.latencies_s else float("nan")


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request under way."""

    def __init__(self, run: "Run") -> None:
        self.run = run
        self.buffer = b""
        self.which = -1
        self.started_s = 0.0
        self.taken_before = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.run.idle(self)

    def send(self, which: int, started_s: float) -> None:
        assert self.transport is not None
        self.which, self.started_s = which, started_s
        self.taken_before = self.run.taken
        self.transport.write(self.run.requests[which])

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head = self.buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        start = self.buffer.lower().find(b"content-length:", 0, head)
        length = int(self.buffer[start + 15 : self.buffer.find(b"\r\n", start)])
        if len(self.buffer) < head + 4 + length:
            return
        top, body = self.buffer[:head].lower(), self.buffer[head + 4 : head + 4 + length]
        self.buffer = b""
        self.run.answered(self, top, body)

    def connection_lost(self, exc: Exception | None) -> None:
        self.run.lost()


class Run:
    """One measurement over prepared requests."""

    def __init__(self, requests: Sequence[bytes], check: Check, *, watch_pid: int, check_every: int = 20) -> None:
        self.requests = requests
        self.report = Report()
        self._check = check
        self._pid = watch_pid
        self._check_every = check_every
        self._random = random.Random(0)
        self._measuring = False
        self._stopping = False
        self._answered = 0
        self.taken = 0
        self._due: deque[float] | None = None
        self._idle: list[Connection] = []

    def idle(self, connection: Connection) -> None:
        """A connection is free: send the next request if one is due."""
        if self._stopping:
            return
        if self._due is None:
            connection.send(self._next(), time.perf_counter())
        elif self._due:
            connection.send(self._next(), self._due.popleft())
        else:
            self._idle.append(connection)

    def answered(self, connection: Connection, top: bytes, body: bytes) -> None:
        """`top` is the status line and the headers, in small letters."""
        status = int(top[9:12])
        self.taken += status in TAKEN
        if self._measuring:
            self._answered += 1
            self.report.statuses[status] += 1
            if status not in TAKEN:
                self.report.failures += 1
                self.report.refused_without_date += status in REFUSALS and b"\r\nretry-after:" not in top
            else:
                self.report.most_ahead = max(self.report.most_ahead, self.taken - connection.taken_before)
                self.report.latencies_s.append(time.perf_counter() - connection.started_s)
                if self._answered % self._check_every == 0 and not self._check(connection.which, body):
                    self.report.wrong += 1
        self.idle(connection)

    def lost(self) -> None:
        if not self._stopping:
            self.report.failures += 1

    def due(self, at_s: float) -> None:
        """Open loop: a request is due now."""
        assert self._due is not None
        if self._idle:
            self._idle.pop().send(self._next(), at_s)
        else:
            self._due.append(at_s)

    def _next(self) -> int:
        return self._random.randrange(len(self.requests))

    async def closed(self, port: int, connections: int, warm_up_s: float, seconds: float) -> Report:
        transports = await self._connect(port, connections)
        await self._measure(warm_up_s, seconds)
        self._close(transports)
        return self.report

    async def open(self, port: int, connections: int, rate: float, warm_up_s: float, seconds: float) -> Report:
        self._due = deque()
        transports = await self._connect(port, connections)
        pacer = asyncio.create_task(self._pace(rate))
        await self._measure(warm_up_s, seconds)
        pacer.cancel()
        self._close(transports)
        return self.report

    async def _pace(self, rate: float) -> None:
        next_s = time.perf_counter()
        while True:
            now_s = time.perf_counter()
            while next_s <= now_s:
                self.due(next_s)
                # Poisson: real users do not queue up evenly.
                next_s += self._random.expovariate(rate)
            await asyncio.sleep(min(0.001, next_s - now_s))

    async def _measure(self, warm_up_s: float, seconds: float) -> None:
        await asyncio.sleep(warm_up_s)
        self._measuring = True
        started_s, cpu_s = time.perf_counter(), cpu_seconds(self._pid)
        await asyncio.sleep(seconds)
        self.report.seconds = time.perf_counter() - started_s
        self.report.server_cpu_s = cpu_seconds(self._pid) - cpu_s
        self._measuring = False

    async def _connect(self, port: int, connections: int) -> list[asyncio.Transport]:
        loop = asyncio.get_running_loop()
        made = [await loop.create_connection(lambda: Connection(self), "127.0.0.1", port) for _ in range(connections)]
        return [transport for transport, _ in made]

    def _close(self, transports: Sequence[asyncio.Transport]) -> None:
        self._stopping = True
        for transport in transports:
            transport.close()


def post(path: str, body: bytes) -> bytes:
    """A whole request as bytes."""
    lines = [f"POST {path} HTTP/1.1", "host: bench", "content-type: application/json", f"content-length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
