"""nginx in front of the API reuses its connections; the real binary with the shipped configuration, if installed."""

import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

CONF = Path(__file__).parents[2] / "deploy" / "nginx" / "retort.conf"
NGINX = shutil.which("nginx")


class Api(ThreadingHTTPServer):
    """An API that counts the connections to it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.connections = 0
        self.requests = 0
        self.failing = 0  # next requests that end without an answer

    def process_request(self, request: object, client_address: object) -> None:
        self.connections += 1
        super().process_request(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        assert isinstance(self.server, Api)
        self.server.requests += 1
        if self.server.failing:
            self.server.failing -= 1
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def nginx(api: Api, tmp_path: Path) -> Iterator[str]:
    assert NGINX is not None
    port = free_port()
    # An older nginx follows no name at run time; this test is about connections.
    text = CONF.read_text().replace("server api:8000 resolve", f"server 127.0.0.1:{api.server_port}")
    text = text.replace("listen 8080", f"listen 127.0.0.1:{port}").replace(" /tmp/", f" {tmp_path}/")
    text = text.replace("worker_processes auto", "worker_processes 2")
    (tmp_path / "retort.conf").write_text(text)
    command = [NGINX, "-p", str(tmp_path), "-c", str(tmp_path / "retort.conf"), "-g", "daemon off;"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, "nginx has ended"
                assert time.monotonic() < until
                time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.skipif(NGINX is None, reason="requires nginx")
@pytest.mark.parametrize("path", ["/recommend", "/events", "/similar/i1"])
def test_hundreds_of_requests_use_few_connections(nginx: str, api: Api, path: str) -> None:
    for _ in range(20):  # each caller has a connection of its own
        with httpx.Client() as caller:
            for _ in range(15):
                assert caller.post(f"{nginx}{path}", content=b"{}").status_code == 200
    assert 1 <= api.connections <= 8, "one or a few for each worker of nginx"


@pytest.mark.skipif(NGINX is None, reason="requires nginx")
@pytest.mark.parametrize(
    ("path", "status", "sent"), [("/recommend", 200, 2), ("/similar/i1", 200, 2), ("/events", 502, 1)]
)
def test_a_request_without_a_container_left_starts_again_unless_it_may_count_twice(
    nginx: str, api: Api, path: str, status: int, sent: int
) -> None:
    # the list of containers has one; nginx gives up after it, as it does when the list changes meanwhile
    api.failing = 1
    assert httpx.post(f"{nginx}{path}", content=b"{}").status_code == status
    assert api.requests == sent


def test_the_upstream_follows_its_name_and_keeps_connections() -> None:
    text = re.sub(r"#.*", "", CONF.read_text())
    upstream = re.search(r"upstream api \{(.*?)\}", text, re.DOTALL)
    assert upstream is not None
    assert {"zone", "server", "keepalive", "keepalive_timeout"} <= set(re.findall(r"^\s*(\w+)", upstream[1], re.M))
    assert "resolve" in upstream[1]
    assert re.search(r"resolver\s+127\.0\.0\.11\s+valid=1s", text)
    assert 'proxy_set_header Connection ""' in text
    assert "$api" not in text, "a variable opens a connection for each request"


def test_the_image_of_nginx_can_follow_a_name() -> None:
    compose = (CONF.parents[2] / "docker-compose.yml").read_text()
    found = re.search(r"image: nginx:(\d+)\.(\d+)", compose)
    assert found is not None
    assert (int(found[1]), int(found[2])) >= (1, 28)
