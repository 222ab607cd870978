"""Requests with one total deadline and a size limit; httpx limits each read, and reads a response of any size."""

import asyncio
import contextvars
import threading
import time
from typing import Any

import httpx

MAX_RESPONSE_BYTES = 32 * 2**20


class ResponseTooLargeError(httpx.RequestError):
    """The response is larger than `MAX_RESPONSE_BYTES`."""


def send(client: httpx.Client, deadline_s: float, method: str, path: str, **arguments: Any) -> httpx.Response:
    """Send a request and read the whole response; `httpx.ReadTimeout` after `deadline_s` seconds in all.

    The request runs in a thread of its own, because a blocking client has no limit for headers that arrive byte by
    byte.
    """
    results: list[httpx.Response] = []
    errors: list[BaseException] = []
    until_s = time.monotonic() + deadline_s

    def run() -> None:
        try:
            with client.stream(method, path, **arguments) as response:
                body = bytearray()
                for block in response.iter_bytes():
                    _append(body, block)
                    if time.monotonic() > until_s:
                        raise _late(deadline_s)
                results.append(_whole(response, body))
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            errors.append(error)

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(run,), name="retort-client", daemon=True)
    thread.start()
    thread.join(deadline_s)
    if errors:
        raise errors[0]
    if not results:
        raise _late(deadline_s)
    return results[0]


async def send_async(
    client: httpx.AsyncClient, deadline_s: float, method: str, path: str, **arguments: Any
) -> httpx.Response:
    """Do the same as `send` in an event loop."""
    try:
        async with asyncio.timeout(deadline_s):
            async with client.stream(method, path, **arguments) as response:
                body = bytearray()
                async for block in response.aiter_bytes():
                    _append(body, block)
    except TimeoutError:
        raise _late(deadline_s) from None
    return _whole(response, body)


def _late(deadline_s: float) -> httpx.ReadTimeout:
    return httpx.ReadTimeout(f"no complete response within {deadline_s:g} s")


def _append(body: bytearray, block: bytes) -> None:
    body += block
    if len(body) > MAX_RESPONSE_BYTES:
        raise ResponseTooLargeError(f"the response is larger than {MAX_RESPONSE_BYTES >> 20} MiB")


def _whole(response: httpx.Response, body: bytearray) -> httpx.Response:
    headers = [
        (name, value)
        for name, value in response.headers.multi_items()
        if name.lower() not in ("content-encoding", "content-length", "transfer-encoding")
    ]
    return httpx.Response(response.status_code, headers=headers, content=bytes(body), request=response.request)
