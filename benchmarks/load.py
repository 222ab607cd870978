"""HTTP load generator: one thread, keep-alive connections, raw bytes.

Closed loop: each connection sends the next request after its response. Open loop: requests are due at times that do not
depend on the server, and latency counts from the due time, so that a stall of the server is not hidden.
"""

import asyncio
import os
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.load_report import Report

TAKEN = (200, 202)
REFUSALS = (429, 503)
# Servers close idle connections (uvicorn after 5 s by default). A request that is sent at that moment is lost, so a
# connection that was idle for this long is not used again.
MAX_IDLE_S = 4.0

Check = Callable[[int, bytes], bool]  # (index of the request, body of the response) → is correct


class Connection(asyncio.Protocol):
    """A keep-alive connection with at most one request in flight."""

    def __init__(self, run: "Run") -> None:
        self.run = run
        self.buffer = b""
        self.index = -1
        self.busy = False
        self.started_s = 0.0
        self.sent_s = 0.0
        self.idle_since_s = 0.0
        self.taken_before = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.run.opened(self)

    def send(self, index: int, started_s: float) -> None:
        assert self.transport is not None
        self.index, self.started_s, self.busy = index, started_s, True
        self.taken_before = self.run.taken
        self.sent_s = time.perf_counter()
        self.transport.write(self.run.requests[index])

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
    """A measurement over prepared requests."""

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
        self._connecting: set[asyncio.Task[None]] = set()

    def opened(self, connection: Connection) -> None:
        """Register a new connection and use it."""
        self._open.add(connection)
        self.idle(connection)

    def idle(self, connection: Connection) -> None:
        """Send the next request on a free connection if one is due."""
        if self._stopping:
            return
        if self._due is None:
            connection.send(self._next(), time.perf_counter())
        elif self._due:
            connection.send(self._next(), self._due.popleft())
        else:
            connection.idle_since_s = time.perf_counter()
            self._idle.append(connection)

    def answered(self, connection: Connection, top: bytes, body: bytes) -> None:
        """Record a response; `top` is the status line and the headers in lower case."""
        status = int(top[9:12])
        self.taken += status in TAKEN
        if self._measuring:
            self._answered += 1
            self.report.statuses[status] += 1
            if status not in TAKEN:
                self.report.failures += 1
                self.report.refused_without_retry_after += status in REFUSALS and b"\r\nretry-after:" not in top
            else:
                self.report.most_ahead = max(self.report.most_ahead, self.taken - connection.taken_before)
                now_s = time.perf_counter()
                self.report.latencies_s.append(now_s - connection.started_s)
                self.report.sent_latencies_s.append(now_s - connection.sent_s)
                if self._answered % self._check_every == 0 and not self._check(connection.index, body):
                    self.report.wrong += 1
        self.idle(connection)

    def ended(self, connection: Connection) -> None:
        """Record a closed connection, with a lost request or idle, and connect again."""
        self._open.discard(connection)
        if self._stopping:
            return
        if connection.busy:
            self._count_lost()
        else:
            self.report.closed_while_idle += 1
            if connection in self._idle:
                self._idle.remove(connection)
        task = asyncio.get_running_loop().create_task(self._open_connection())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def _count_lost(self) -> None:
        self.report.failures += 1
        self.report.lost += 1

    async def _open_connection(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: Connection(self), "127.0.0.1", self._port)
        except OSError:
            self._count_lost()

    def due(self, at_s: float) -> None:
        """Send a request of an open loop, or queue it."""
        assert self._due is not None
        connection = self._take_idle()
        if connection is None:
            self._due.append(at_s)
        else:
            connection.send(self._next(), at_s)

    def _take_idle(self) -> Connection | None:
        """Return a connection that was idle for a short time only; the others are closed and opened again."""
        while self._idle:
            connection = self._idle.pop()
            assert connection.transport is not None
            if time.perf_counter() - connection.idle_since_s < MAX_IDLE_S and not connection.transport.is_closing():
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
                # Poisson arrivals, like those of independent users.
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
            await self._open_connection()

    def _close(self) -> None:
        self._stopping = True
        for task in self._connecting:
            task.cancel()
        for connection in self._open:
            assert connection.transport is not None
            connection.transport.close()


def post(path: str, body: bytes) -> bytes:
    """Return a complete request as bytes."""
    lines = [
        f"POST {path} HTTP/1.1",
        "host: 127.0.0.1",
        "content-type: application/json",
        f"content-length: {len(body)}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def cpu_seconds(pid: int) -> float:
    """Return the user and system time of a process and its living children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    children = [child for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]
    return own_s + sum(cpu_seconds(int(child)) for child in children)
