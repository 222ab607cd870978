"""A misbehaving OpenAI-compatible server on loopback: each request is answered as the script says."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.offline.profiles._fakes import GOOD

# (status, body, headers); a body that is no string is sent as JSON
Answer = tuple[int, Any, dict[str, str]]


def completion(text: str | None = GOOD, finish: str = "stop", **message: Any) -> Answer:
    """A well-formed answer."""
    choice = {"message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
    return 200, {"choices": [choice], "usage": {"prompt_tokens": 11, "completion_tokens": 7}}, {}


class FakeServer:
    """`script(n, body)` answers the n-th request; what was asked, when and how many at once is kept."""

    def __init__(self, script: Callable[[int, dict[str, Any]], Answer]) -> None:
        self.script, self.models = script, ["fake-model"]
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times_s: list[float] = []
        self.in_flight = self.most_in_flight = 0
        self.lock = threading.Lock()
        self.url = ""

    def answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Answer:
        """One request."""
        if path == "/v1/models":
            return 200, {"data": [{"id": name} for name in self.models]}, {}
        if path == "/tokenize":
            return 200, {"count": 321}, {}
        if path != "/v1/chat/completions":
            return 404, {"error": {"message": "no such path"}}, {}
        with self.lock:
            number = len(self.bodies)
            self.bodies.append(body)
            self.headers.append(headers)
            self.times_s.append(time.monotonic())
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return self.script(number, body)
        finally:
            with self.lock:
                self.in_flight -= 1


@contextmanager
def serving(script: Callable[[int, dict[str, Any]], Answer]) -> Iterator[FakeServer]:
    """The server on a free port, until the end of the block."""
    fake = FakeServer(script)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(fake.answer(self.path, {}, {}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self._send(fake.answer(self.path, {k.lower(): v for k, v in self.headers.items()}, body))

        def _send(self, answer: Answer) -> None:
            status, body, headers = answer
            payload = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            try:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(payload))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(payload)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client gave up waiting, as the test wanted

        def log_message(self, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
