"""One deadline and a size limit for every HTTP response."""

import asyncio
import gzip
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from retort.offline.common.http import ResponseTooLargeError, request, request_async
from tests.offline.common._hostile import OK, Pieces, endless_body, hostile_server, trickled_body, trickled_headers

Send = Callable[..., httpx.Response]


def send_blocking(url: str, **limits: float) -> httpx.Response:
    with httpx.Client() as client:
        return request(client, "GET", url, **limits)  # type: ignore[arg-type]


def send_async(url: str, **limits: float) -> httpx.Response:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient() as client:
            return await request_async(client, "GET", url, **limits)

    return asyncio.run(send())


@pytest.fixture(params=[send_blocking, send_async])
def send(request: pytest.FixtureRequest) -> Send:
    return request.param  # type: ignore[no-any-return]


@pytest.mark.parametrize("pieces", [trickled_headers, trickled_body])
def test_a_trickling_response_ends_at_the_deadline(send: Send, pieces: Callable[[], Pieces]) -> None:
    with hostile_server(pieces) as url:
        started_s = time.monotonic()
        with pytest.raises(httpx.TimeoutException, match=r"no complete response within 0\.3 s"):
            send(url, deadline_s=0.3)
    assert time.monotonic() - started_s < 2


def test_a_response_beyond_the_limit_is_not_read_to_its_end(send: Send) -> None:
    with hostile_server(endless_body) as url, pytest.raises(ResponseTooLargeError, match="larger than 1 MiB"):
        send(url, deadline_s=20, max_bytes=2**20)


def test_the_limit_holds_after_decompression(send: Send) -> None:
    bomb = gzip.compress(b"0" * 4 * 2**20)

    def pieces() -> Iterator[bytes]:
        yield OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
        yield bomb

    with hostile_server(pieces) as url:
        with pytest.raises(ResponseTooLargeError):
            send(url, deadline_s=20, max_bytes=2**20)
        assert len(send(url, deadline_s=20).content) == 4 * 2**20


def test_a_whole_response_is_as_httpx_gives_it(send: Send) -> None:
    def pieces() -> Iterator[bytes]:
        yield b'HTTP/1.1 404 Not Found\r\nX-Extra: 1\r\nContent-Length: 8\r\n\r\n{"a": 1}'

    with hostile_server(pieces) as url:
        response = send(url, deadline_s=5)
    assert (response.status_code, response.json(), response.headers["x-extra"]) == (404, {"a": 1}, "1")
    with pytest.raises(httpx.HTTPStatusError):
        response.raise_for_status()
