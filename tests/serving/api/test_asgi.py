"""Fast-path middleware: refused requests are reported and counted."""

import asyncio
from typing import Any

from retort.serving.api.asgi import FastPathMiddleware, Scope, Send
from retort.serving.api.body_reader import Message, Receive
from retort.serving.runtime.metrics import Metrics
from tests.serving.conftest import MakeClient


def test_refused_requests_are_counted_and_left_out_of_the_latency(make_client: MakeClient) -> None:
    client = make_client()
    app: Any = client.app
    app.fast_path._max_waiting = 0
    for path in ("/recommend", "/models"):
        response = client.get(path, params={"user_id": "ann"})
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    metrics = client.get("/metrics").text
    assert 'retort_refused_requests_total{why="overload"} 2.0' in metrics
    assert 'retort_requests_total{route="refused",status="503"} 2.0' in metrics
    # at once, so that a flood of them would make the quantiles look good
    assert 'retort_request_seconds_count{route="refused"}' not in metrics


def test_pages_take_no_place_of_requests_for_data() -> None:
    """A page whose caller does not read it is still being answered; it needs no key, so anyone can ask for many."""
    read = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/console":
            await read.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def status_of(asgi: FastPathMiddleware, path: str) -> int:
        statuses: list[int] = []

        async def send(message: Message) -> None:
            statuses.extend([message["status"]] if "status" in message else [])

        async def receive() -> Message:
            return {"type": "http.request", "body": b""}

        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
        await asgi(scope, receive, send)
        return statuses[0]

    async def story() -> None:
        asgi = FastPathMiddleware(app, {}, Metrics(), max_waiting=1, max_body_bytes=10, read_timeout_s=1)
        pages = [asyncio.create_task(status_of(asgi, "/console")) for _ in range(3)]
        await asyncio.sleep(0)
        assert await status_of(asgi, "/models") == 200
        read.set()
        assert await asyncio.gather(*pages) == [200] * 3

    asyncio.run(story())
