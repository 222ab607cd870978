"""An embeddings server on loopback whose vectors count letters; each request is answered as the script says."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Script = Callable[[int, dict[str, Any]], tuple[int, Any, dict[str, str]]]


def vector(text: str) -> list[float]:
    return [float(text.count(letter)) + 0.1 for letter in "abc"]


def vectors(body: dict[str, Any], **changes: Any) -> tuple[int, Any, dict[str, str]]:
    """A well-formed answer, in reverse order, as the protocol allows."""
    data = [{"index": at, "embedding": vector(text)} for at, text in enumerate(body["input"])]
    return 200, {"data": data[::-1], **changes}, {}


@contextmanager
def embedding_server(script: Script) -> Iterator[tuple[str, list[dict[str, Any]], list[dict[str, str]]]]:
    """The server's address, the bodies and the headers that it received."""
    bodies: list[dict[str, Any]] = []
    headers: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            bodies.append(body)
            headers.append({key.lower(): value for key, value in self.headers.items()})
            known = self.path == "/v1/embeddings"
            status, answer, more = script(len(bodies) - 1, body) if known else (404, {"error": "no such path"}, {})
            payload = json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {**more, "Content-Length": str(len(payload))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_address[1]}/v1", bodies, headers
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
