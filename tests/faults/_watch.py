"""What a fault test looks at: metrics as Prometheus reads them, and callers that keep what they see."""

import concurrent.futures
import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from tests.serving._process import Server


def soon(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    """Wait for it; a server that is only just starting or stopping counts as not yet."""
    until = time.monotonic() + within_s
    while True:
        try:
            if condition():
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < until, f"not seen within {within_s} s"
        time.sleep(0.02)


def metric(server: Server, name: str, **labels: str) -> float:
    """The sum over all samples of `name` that carry these labels."""
    text = httpx.get(f"{server.url}/metrics", timeout=10).text
    total = 0.0
    for line in text.splitlines():
        found = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
        if found and labels.items() <= dict(re.findall(r'(\w+)="([^"]*)"', found[1] or "")).items():
            total += float(found[2])
    return total


class Load:
    """Callers that ask without pause, over connections that stay, and keep what they see."""

    def __init__(
        self, url: str, body: dict[str, Any], callers: int = 4, *, go_on: Callable[[httpx.Response], bool] | None = None
    ) -> None:
        self.answers: list[dict[str, Any]] = []
        self.refusals: list[httpx.Response] = []
        self.broken: list[Exception] = []
        self._stop = threading.Event()
        self._url = url
        self._body = body
        self._go_on = go_on
        self._threads = [threading.Thread(target=self._call) for _ in range(callers)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        with httpx.Client(base_url=self._url, timeout=20) as client:
            while not self._stop.is_set():
                try:
                    response = client.post("/recommend", json=self._body)
                except httpx.TransportError as error:
                    self.broken.append(error)
                    continue
                if response.status_code == 200:
                    self.answers.append(response.json())
                else:
                    self.refusals.append(response)
                if self._go_on is not None and not self._go_on(response):
                    return


def all_at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Their results, each from a thread of its own."""
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]
