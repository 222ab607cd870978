"""HTTP requests with one total deadline and a size limit.

httpx limits each read, so a server that sends one byte at a time is waited for without end, and it reads a response
whole, whatever its size.
"""

import asyncio
import contextvars
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

MAX_RESPONSE_BYTES = 32 * 2**20  # of a JSON response; a reply or a batch of vectors is far smaller
_GZIP_OR_ZLIB = 47  # zlib's window bits with automatic detection
T = TypeVar("T")


class ResponseTooLargeError(httpx.RemoteProtocolError):
    """The response is larger than the limit; it was not read to its end."""


def request(
    client: httpx.Client,
    method: str,
    url: str,
    *,
    deadline_s: float,
    max_bytes: int = MAX_RESPONSE_BYTES,
    **arguments: Any,
) -> httpx.Response:
    """Send a request and read the whole response.

    Args:
        deadline_s: Limit for everything: connecting, sending, headers and body.
        max_bytes: Limit of the body, before and after decompression.

    Raises:
        httpx.ReadTimeout: The deadline has passed.
        ResponseTooLargeError: The body exceeds the limit.
        httpx.HTTPError: As httpx raises it.
    """
    until_s = time.monotonic() + deadline_s

    def send() -> httpx.Response:
        with client.stream(method, url, timeout=deadline_s, **_identity(arguments)) as response:
            body = bytearray()
            for block in response.iter_raw():
                _append(body, block, max_bytes)
                if time.monotonic() > until_s:
                    raise _late(deadline_s)
        return _whole(response, bytes(body), max_bytes)

    return run_within(send, deadline_s)


async def request_async(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    deadline_s: float,
    max_bytes: int = MAX_RESPONSE_BYTES,
    **arguments: Any,
) -> httpx.Response:
    """Do the same as `request` in an event loop."""
    try:
        async with asyncio.timeout(deadline_s):
            async with client.stream(method, url, timeout=deadline_s, **_identity(arguments)) as response:
                body = bytearray()
                async for block in response.aiter_raw():
                    _append(body, block, max_bytes)
    except TimeoutError:
        raise _late(deadline_s) from None
    return _whole(response, bytes(body), max_bytes)


def run_within(work: Callable[[], T], deadline_s: float) -> T:
    """Run blocking work in a thread of its own, and stop waiting for it at the deadline.

    A thread is required because a blocking client has no limit for headers that arrive byte by byte. A thread that is
    left behind ends with its next read of the body.

    Raises:
        httpx.ReadTimeout: The deadline has passed.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            errors.append(error)

    context = contextvars.copy_context()  # traces keep their parent
    thread = threading.Thread(target=context.run, args=(run,), name="http", daemon=True)
    thread.start()
    thread.join(deadline_s)
    if errors:
        raise errors[0]
    if not results:
        raise _late(deadline_s)
    return results[0]


def _identity(arguments: dict[str, Any]) -> dict[str, Any]:
    """Ask for an uncompressed body, whose size is known while it arrives."""
    return {**arguments, "headers": {**(arguments.get("headers") or {}), "Accept-Encoding": "identity"}}


def _late(deadline_s: float) -> httpx.ReadTimeout:
    return httpx.ReadTimeout(f"no complete response within {deadline_s:g} s")


def _append(body: bytearray, block: bytes, max_bytes: int) -> None:
    body += block
    if len(body) > max_bytes:
        raise _too_large(max_bytes)


def _too_large(max_bytes: int) -> ResponseTooLargeError:
    size = f"{max_bytes / 2**20:g} MiB" if max_bytes >= 2**20 else f"{max_bytes:,} bytes"
    return ResponseTooLargeError(f"the response is larger than {size}")


def _whole(response: httpx.Response, body: bytes, max_bytes: int) -> httpx.Response:
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("gzip", "deflate", "x-gzip"):
        body = _decompressed(body, max_bytes)
    elif encoding not in ("identity", ""):
        raise httpx.DecodingError(f"the response has the encoding {encoding[:40]!r}, which was not requested")
    headers = [
        (name, value)
        for name, value in response.headers.multi_items()
        if name.lower() not in ("content-encoding", "content-length", "transfer-encoding")
    ]
    return httpx.Response(response.status_code, headers=headers, content=body, request=response.request)


def _decompressed(body: bytes, max_bytes: int) -> bytes:
    decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        plain = decoder.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise httpx.DecodingError(f"the response cannot be decompressed ({error})") from None
    if len(plain) > max_bytes:
        raise _too_large(max_bytes)
    return plain
