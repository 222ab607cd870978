"""A raw server on loopback that sends what a test says, at the pace that it says."""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

Pieces = Iterable[bytes]
OK = b"HTTP/1.1 200 OK\r\n"


def slowly(data: bytes, pause_s: float = 0.02) -> Iterator[bytes]:
    """One byte at a time."""
    for at in range(len(data)):
        yield data[at : at + 1]
        time.sleep(pause_s)


def trickled_headers() -> Pieces:
    """Headers that never end."""
    yield OK
    yield from slowly(b"X-Padding: " + b"a" * 500)


def trickled_body() -> Pieces:
    """A body that arrives byte by byte."""
    yield OK + b"Content-Type: application/json\r\nContent-Length: 500\r\n\r\n"
    yield from slowly(b" " * 500)


def endless_body() -> Pieces:
    """A body without an end, as fast as it goes."""
    yield OK + b"Content-Type: application/json\r\n\r\n"
    while True:
        yield b"x" * 65_536


@contextmanager
def hostile_server(pieces: Callable[[], Pieces]) -> Iterator[str]:
    """Answer every request with these pieces; yields the address."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def answer(connection: socket.socket) -> None:
        with connection:
            try:
                connection.recv(65_536)
                for piece in pieces():
                    if ended.is_set():
                        return
                    connection.sendall(piece)
            except OSError:
                pass  # the client has left, as the test wants

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
