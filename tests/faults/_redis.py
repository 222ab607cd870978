"""A Redis that can be hurt: started, killed, filled; and a proxy before it that can be slow or cut lines."""

import contextlib
import os
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import redis

from retort.offline.local.local_redis import free_port, redis_binary


class HurtableRedis:
    """A real server on a port of its own that keeps its address over restarts; killed by its pid."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str, environment: dict[str, str] | None = None) -> None:
        found = redis_binary()
        assert found is not None, "no Redis server was found"
        command = [str(found[0]), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *options]
        self._process = subprocess.Popen(
            command, cwd=self._directory, stdout=subprocess.DEVNULL, env={**os.environ, **(environment or {})}
        )
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with contextlib.suppress(redis.ConnectionError), self.client() as client:
                if client.ping():
                    return
            time.sleep(0.02)
        raise AssertionError("Redis did not start")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def client(self) -> "redis.Redis":
        return redis.Redis.from_url(self.url, socket_timeout=5)


class Proxy:
    """An address that stays, before a server that may be slow, cut off, resetting or another one.

    `delay_s` comes before each answer, `cut` instead of one; `reset` ends a connection with RST, as a crashed peer
    does; `refuse` lets nobody in; `silent` says nothing at all. `point_to` sends what is dialled from now on elsewhere
    and hangs up on the others.
    """

    def __init__(self, target_port: int) -> None:
        self.delay_s = 0.0
        self.cut = False
        self.reset = False
        self.refuse = False
        self.silent = False
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self.hang_up()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def point_to(self, target_port: int) -> None:
        """As a failover's address does."""
        self._target_port = target_port
        self.hang_up()

    def dial(self, target_port: int) -> None:
        """Send new connections elsewhere and leave the others as they are, as a load balancer does."""
        self._target_port = target_port

    def hang_up(self) -> None:
        """End every connection there is."""
        ended, self._sockets = self._sockets, []
        for one in ended:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self.refuse:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._target_port))
            except OSError:
                near.close()
                continue
            self._sockets += [near, far]
            for source, sink, answers in ((near, far, False), (far, near, True)):
                thread = threading.Thread(target=self._pump, args=(source, sink, answers), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if answers and self.delay_s:
                    time.sleep(self.delay_s)
                if answers and self.silent:
                    continue
                if answers and self.reset:
                    # closing with unsent data forbidden to linger is an RST
                    sink.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    sink.close()
                    break
                if answers and self.cut:
                    break
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
