"""Connections: slow, silent and unauthenticated ones take nothing from others. Bytes over sockets to real servers."""

import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import httpx
import pytest

from retort.serving.main import add_key
from retort.serving.runtime.connections import raise_file_limit
from tests.serving._process import Server, serving_process

HEAD = (
    "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{key}\r\n"
)
LIVE = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
BODY = b'{"history": ["i1"], "k": 3}'
POSTS = ("/recommend", "/events", "/recommend/batch", "/users/ann/merge", "/v2/models/tiny/infer", "/refreshes")


class Keyed:
    """A server with one key, and that key."""

    def __init__(self, server: Server, key: str, log: Path) -> None:
        self.server, self.key, self.log = server, key, log
        self.address = ("127.0.0.1", int(server.url.rpartition(":")[2]))

    def connect(self, data: bytes = b"") -> socket.socket:
        connection = socket.create_connection(self.address, timeout=10)
        connection.sendall(data)
        return connection

    def head(self, path: str, length: int, *, with_key: bool) -> bytes:
        key = f"X-Api-Key: {self.key}\r\n" if with_key else ""
        return HEAD.format(path=path, length=length, key=key).encode()

    def recommend(self, timeout_s: float = 5) -> int:
        url, headers = f"{self.server.url}/recommend", {"x-api-key": self.key}
        return httpx.post(url, content=BODY, headers=headers, timeout=timeout_s).status_code


@pytest.fixture(scope="module")
def keyed(bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    home = tmp_path_factory.mktemp("connections")
    key = add_key(home / "keys.json", "app", ["read", "write", "admin"], "default")
    settings = {"retort_keys_file": home / "keys.json", "retort_bundle": bundle_path}
    limits = {"retort_read_timeout_s": 0.6, "retort_max_connections": 300, "retort_max_waiting": 16}
    with serving_process(home, **settings, **limits) as server:
        server.ready()
        yield Keyed(server, key, home / "server.log")


def first_line(connection: socket.socket) -> str:
    return connection.recv(65536).split(b"\r\n")[0].decode()


def is_closed_within(connection: socket.socket, seconds: float) -> bool:
    connection.settimeout(seconds)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize("path", POSTS)
def test_a_request_without_a_key_is_refused_before_its_body_arrives(keyed: Keyed, path: str) -> None:
    with keyed.connect(keyed.head(path, 1000, with_key=False)) as connection:
        started = time.monotonic()
        assert " 401 " in first_line(connection)
        assert time.monotonic() - started < 0.5, "it waited for the body"


@pytest.mark.parametrize("path", POSTS)
def test_a_body_that_does_not_arrive_ends_with_408(keyed: Keyed, path: str) -> None:
    with keyed.connect(keyed.head(path, 1000, with_key=True)) as connection:
        answer = connection.recv(65536)
        assert b" 408 " in answer.split(b"\r\n")[0]
        assert b"application/problem+json" in answer
        assert is_closed_within(connection, 2)


def test_a_body_that_trickles_has_the_same_time(keyed: Keyed) -> None:
    with keyed.connect(keyed.head("/recommend", 1000, with_key=True)) as connection:
        connection.settimeout(0.1)
        started = time.monotonic()
        answer = b""
        while not answer and time.monotonic() - started < 5:
            connection.sendall(b" ")
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(65536)
        assert b" 408 " in answer


@pytest.mark.parametrize("with_key", [True, False])
def test_hundreds_of_connections_that_wait_with_their_body_delay_nobody(keyed: Keyed, with_key: bool) -> None:
    head = keyed.head("/recommend", 1000, with_key=with_key)
    with contextlib.ExitStack() as stack:
        for _ in range(256):
            stack.enter_context(keyed.connect(head))
        assert [keyed.recommend() for _ in range(5)] == [200] * 5
        assert httpx.get(f"{keyed.server.url}/health/ready").status_code == 200


def test_more_silent_connections_than_are_allowed_close_the_oldest_ones(keyed: Keyed) -> None:
    """They have had an answer, so that no time ends them for a minute."""
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(keyed.connect(LIVE)) for _ in range(320)]
        assert {read_status(connection) for connection in silent[100:]} == {200}
        assert keyed.recommend() == 200
        assert is_closed_within(silent[0], 1)
        assert not is_closed_within(silent[-1], 0.1)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /recommend HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Part: ",
        b"GET /unknown HTTP/1.1\r\nContent-Length: 9\r\n\r\n",
    ],
    ids=["nothing", "half a head", "an answered request without its body"],
)
def test_a_connection_that_sends_no_whole_request_is_closed(keyed: Keyed, sent: bytes) -> None:
    with keyed.connect(sent) as connection:
        assert is_closed_within(connection, 3)


def test_an_answered_request_whose_refused_body_trickles_is_closed(keyed: Keyed) -> None:
    with keyed.connect(keyed.head("/recommend", 10_000, with_key=False)) as connection:
        assert " 401 " in first_line(connection)
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - started < 5:
                connection.sendall(b" ")
                time.sleep(0.05)
        assert time.monotonic() - started < 4


def test_an_empty_line_does_not_keep_an_idle_connection(keyed: Keyed) -> None:
    with keyed.connect(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") as connection:
        assert read_status(connection) == 200
        connection.sendall(b"\r\n")
        assert is_closed_within(connection, 3)


@pytest.mark.parametrize("line", [b"a: b\r\n", b"x" * 5], ids=["trailers", "one trailer"])
def test_trailers_without_end_are_not_kept(keyed: Keyed, line: bytes) -> None:
    head = keyed.head("/recommend", 0, with_key=True).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")

    def seconds() -> float:
        started = time.monotonic()
        with keyed.connect(head + b"0\r\nname: ") as connection, contextlib.suppress(ConnectionError):
            while time.monotonic() - started < 5:
                connection.sendall(line * 1000)
        return time.monotonic() - started

    assert min(seconds() for _ in range(3)) < 0.5, "they end with the time of the body, not with their size"


def test_callers_that_do_not_read_their_answers_take_no_place_and_are_closed(keyed: Keyed) -> None:
    request = b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with contextlib.ExitStack() as stack:
        deaf = [stack.enter_context(socket.socket()) for _ in range(20)]
        for connection in deaf:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.connect(keyed.address)
            connection.sendall(request * 60)
        assert [keyed.recommend(30) for _ in range(5)] == [200] * 5
        until = time.monotonic() + 20
        while open_sockets(keyed, deaf) and time.monotonic() < until:
            time.sleep(0.2)
        assert not open_sockets(keyed, deaf), "they hold their connections and the answers"
    assert "Traceback" not in keyed.log.read_text()


def open_sockets(keyed: Keyed, connections: list[socket.socket]) -> int:
    """The number of these connections that the server holds, from the system's table of sockets."""
    ports = {f":{connection.getsockname()[1]:04X}" for connection in connections}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    server = f":{keyed.address[1]:04X}"
    return sum(row[1].endswith(server) and row[2][-5:] in ports and row[3] == "01" for row in rows)


def test_a_slow_reader_gets_its_whole_answer(keyed: Keyed) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
        connection.connect(keyed.address)
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 40)
        answers, started = bytearray(), time.monotonic()
        while answers.count(b'"openapi":') < 40 and (block := connection.recv(65_536)):
            answers += block
            if time.monotonic() - started < 2:
                time.sleep(0.1)
    assert answers.count(b"200 OK") == 40


@pytest.mark.parametrize(
    "headers",
    [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk",
        "upgrade: websocket\r\nconnection: keep-alive, upgrade",
    ],
    ids=["Java's client", "a web socket"],
)
@pytest.mark.parametrize("apart", [False, True])
def test_a_header_that_asks_for_another_protocol_is_ignored(keyed: Keyed, headers: str, apart: bool) -> None:
    head = keyed.head("/recommend", len(BODY), with_key=True).replace(b"\r\n\r\n", f"\r\n{headers}\r\n\r\n".encode())
    with keyed.connect() as connection:
        for _ in range(2):
            connection.sendall(head if apart else head + BODY)
            if apart:
                time.sleep(0.05)
                connection.sendall(BODY)
            assert read_status(connection) == 200


def test_a_refused_body_that_arrives_keeps_the_connection(keyed: Keyed) -> None:
    with keyed.connect(keyed.head("/recommend", len(BODY), with_key=False)) as connection:
        assert read_status(connection) == 401
        connection.sendall(BODY + keyed.head("/recommend", len(BODY), with_key=True) + BODY)
        assert read_status(connection) == 200


def read_status(connection: socket.socket) -> int:
    """Read a whole response, for its head and body may arrive apart. Returns its status."""
    response = HTTPResponse(connection)
    response.begin()
    response.read()
    return response.status


def test_a_head_without_end_is_refused(keyed: Keyed) -> None:
    with keyed.connect(b"GET /recommend HTTP/1.1\r\n") as connection:
        with contextlib.suppress(ConnectionError):
            for _ in range(40):
                connection.sendall(b"X-Header: " + b"x" * 4000 + b"\r\n")
                time.sleep(0.002)
        assert " 431 " in first_line(connection)


def test_the_limit_of_open_files_bounds_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 1024))
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
    assert raise_file_limit(8192) == 1024 - 128
    assert raised == [(1024, 1024)]
    assert raise_file_limit(100) == 100
