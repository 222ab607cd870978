"""Limits of HTTP connections: the time to send a request and to read its response, the size of its head, their number.

uvicorn only ends a connection that is idle after a response. A connection that sends nothing, half a head, or a body
that was refused unread would stay open without end, and so would one that does not read its response.
"""

import array
import asyncio
import fcntl
import re
import resource
import termios
from typing import Any

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

_MAX_HEAD_BYTES = 65_536
# Files besides connections: listeners, Redis, the database, the bundle.
_RESERVED_FILES = 128
# A peer that reads less of its response in `read_timeout_s` has stopped.
_LEAST_READ_BYTES = 1024
_UPGRADE = re.compile(rb"(?<=\n)upgrade(?=[ \t]*:)", re.IGNORECASE)
_HEAD_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/problem+json\r\nconnection: close\r\n"
)
_HEAD_TOO_LARGE_BODY = (
    b'{"type":"about:blank","title":"Request Header Fields Too Large","status":431,'
    b'"detail":"The head of the request is larger than 65536 bytes; send fewer or shorter headers."}'
)


class LimitedConnection(HttpToolsProtocol):
    """HTTP connection with limits; the limit on the time of a body that a route reads is in `api.asgi`.

    Args:
        read_timeout_s: Seconds for the head of a request, for the rest of a body whose request was answered, and for
            which a peer may read less than 1 KiB of its response.
        max_connections: Connections of this process; above it the longest idle one is closed.
    """

    def __init__(self, *args: Any, read_timeout_s: float, max_connections: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_timeout_s = read_timeout_s
        self._max_connections = max_connections
        self._read_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._in_head = True
        self._in_body = False
        self._write_timer: asyncio.TimerHandle | None = None
        self._unread_bytes = 0
        self._answered: RequestResponseCycle | None = None
        self.idle_since_s = 0.0

    @property
    def is_idle(self) -> bool:
        """True when no request is being answered."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if len(self.connections) >= self._max_connections:
            self._close_longest_idle()
        super().connection_made(transport)
        self.idle_since_s = self.loop.time()
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        self._cancel_write_timer()
        if self._answered is not None and not self._answered.response_complete:
            # uvicorn marks the newest request alone; an earlier one of a pipeline would write to the closed connection
            self._answered.disconnected = True
            self._answered.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        if self._in_head or self.is_idle:
            data = _without_upgrade(data)
        # in a body these are trailers and chunk extensions, because `on_body` sets the count to 0
        self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head or self._in_body:
            self._check_head()
        elif self.is_idle and self.timeout_keep_alive_task is None and self._read_timer is None:
            # uvicorn ends the timer of an idle connection at any byte, also at an empty line, which begins no request
            self._start_timer()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # trailers are not used
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head, self._in_body = False, True
        if self._read_timer is not None:
            self._cancel_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        if self._read_timer is not None:
            self._cancel_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.idle_since_s = self.loop.time()
        if self._in_body:
            self._start_timer()

    def timeout_keep_alive_handler(self) -> None:
        self._end()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread_bytes = self._count_unread()
        self._start_write_timer()

    def resume_writing(self) -> None:
        self._cancel_write_timer()
        super().resume_writing()

    def _check_head(self) -> None:
        if self._head_bytes > _MAX_HEAD_BYTES and not self.transport.is_closing():
            if self._in_head:  # the request of a body is being answered, or was
                length = b"content-length: %d\r\n\r\n" % len(_HEAD_TOO_LARGE_BODY)
                self.transport.write(_HEAD_TOO_LARGE + length + _HEAD_TOO_LARGE_BODY)
            self.transport.close()
        elif self._in_head and self._read_timer is None:
            self._start_timer()

    def _close_longest_idle(self) -> None:
        idle = [other for other in self.connections if isinstance(other, LimitedConnection) and other.is_idle]
        if idle:
            min(idle, key=lambda other: other.idle_since_s).transport.abort()

    def _start_timer(self) -> None:
        self._cancel_timer()
        self._read_timer = self.loop.call_later(self._read_timeout_s, self._on_read_timeout)

    def _cancel_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _on_read_timeout(self) -> None:
        self._read_timer = None
        if self.is_idle:
            self._end()
        else:  # a pipelined request; the one before it is still being answered
            self._start_timer()

    def _start_write_timer(self) -> None:
        self._write_timer = self.loop.call_later(self._read_timeout_s, self._on_write_timeout)

    def _cancel_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()

    def _on_write_timeout(self) -> None:
        before, self._unread_bytes = self._unread_bytes, self._count_unread()
        if before - self._unread_bytes < _LEAST_READ_BYTES:
            self.transport.abort()
        else:
            self._start_write_timer()

    def _count_unread(self) -> int:
        """Bytes that the peer has not received yet: those of this process and those of the system."""
        queued = array.array("i", [0])
        try:
            fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, queued)
        except (OSError, ValueError):  # not every system counts them
            queued[0] = 0
        return self.transport.get_write_buffer_size() + queued[0]

    def _end(self) -> None:
        """Close the connection; abort it when its peer does not read, because closing waits for the last bytes."""
        if self.transport.is_closing():
            return
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()


def _without_upgrade(data: bytes) -> bytes:
    """Rename the header Upgrade: no other protocol is supported, and the parser would skip the body after it.

    Java's client asks for HTTP/2 in this way with each first request.
    """
    if b"pgrade" not in data and b"PGRADE" not in data:
        return data
    head, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"x-upgrade", head) + end + rest


def raise_file_limit(max_connections: int) -> int:
    """Raise the limit of open files as far as it is allowed, and return the connections for which it suffices."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    required = max_connections + _RESERVED_FILES
    if soft != resource.RLIM_INFINITY and soft < required:
        soft = required if hard == resource.RLIM_INFINITY else min(required, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max_connections if soft == resource.RLIM_INFINITY else max(1, min(max_connections, soft - _RESERVED_FILES))
