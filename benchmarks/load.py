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
# Servers hang up on connections that rest (uvicorn by default after 5 s); whoever sends just then is reset, and cannot
# know whether the request was seen. So a connection that has rested this long is not used again.
MAX_REST_S = 4.0

Check = Callable[[int, bytes], bool]  # (which request, answer's body) → right?


@dataclass
class Report:
    """What a run saw; latencies in seconds."""

    latencies_s: list[float] = field(default_factory=list)
    # refused, answered by an error, or lost
    failures: int = 0
    # of these: connections that ended with a request under way, or that could not be opened
    lost: int = 0
    # connections that ended, by either side, while nothing was under way: no failure
    closed_at_rest: int = 0
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
        self.busy = False
        self.started_s = 0.0
        self.rests_since_s = 0.0
        self.taken_before = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.run.opened(self)

    def send(self, which: int, started_s: float) -> None:
        assert self.transport is not None
        self.which, self.started_s, self.busy = which, started_s, True
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
        self.busy = False
        self.run.answered(self, top, body)

    def connection_lost(self, exc: Exception | None) -> None:
        self.run.ended(self)


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
        self._port = 0
        self._open: set[Connection] = set()
        self._dialling: set[asyncio.Task[None]] = set()

    def opened(self, connection: Connection) -> None:
        """It counts among those to close at the end, and is free."""
        self._open.add(connection)
        self.idle(connection)

    def idle(self, connection: Connection) -> None:
        """A connection is free: send the next request if one is due."""
        if self._stopping:
            return
        if self._due is None:
            connection.send(self._next(), time.perf_counter())
        elif self._due:
            connection.send(self._next(), self._due.popleft())
        else:
            connection.rests_since_s = time.perf_counter()
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

    def ended(self, connection: Connection) -> None:
        """Tell a lost request from a connection that had nothing to do, and dial again for either."""
        self._open.discard(connection)
        if self._stopping:
            return
        if connection.busy:
            self._count_lost()
        else:
            self.report.closed_at_rest += 1
            if connection in self._idle:
                self._idle.remove(connection)
        task = asyncio.get_running_loop().create_task(self._dial())
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)

    def _count_lost(self) -> None:
        self.report.failures += 1
        self.report.lost += 1

    async def _dial(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: Connection(self), "127.0.0.1", self._port)
        except OSError:
            self._count_lost()

    def due(self, at_s: float) -> None:
        """Open loop: a request is due now."""
        assert self._due is not None
        connection = self._rested()
        if connection is None:
            self._due.append(at_s)
        else:
            connection.send(self._next(), at_s)

    def _rested(self) -> Connection | None:
        """A free connection that the server has not yet grown tired of; the others are closed and dialled anew."""
        while self._idle:
            connection = self._idle.pop()
            assert connection.transport is not None
            if time.perf_counter() - connection.rests_since_s < MAX_REST_S and not connection.transport.is_closing():
                return connection
            connection.transport.close()
        return None

    def _next(self) -> int:
        return self._random.randrange(len(self.requests))

    async def closed(self, port: int, connections: int, warm_up_s: float, seconds: float) -> Report:
        await self._connect(port, connections)
        await self._measure(warm_up_s, seconds)
        self._close()
        return self.report

    async def open(self, port: int, connections: int, rate: float, warm_up_s: float, seconds: float) -> Report:
        self._due = deque()
        await self._connect(port, connections)
        pacer = asyncio.create_task(self._pace(rate))
        await self._measure(warm_up_s, seconds)
        pacer.cancel()
        self._close()
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

    async def _connect(self, port: int, connections: int) -> None:
        self._port = port
        for _ in range(connections):
            await self._dial()

    def _close(self) -> None:
        self._stopping = True
        for task in self._dialling:
            task.cancel()
        for connection in self._open:
            assert connection.transport is not None
            connection.transport.close()


def post(path: str, body: bytes) -> bytes:
    """A whole request as bytes."""
    lines = [f"POST {path} HTTP/1.1", "host: bench", "content-type: application/json", f"content-length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
