"""A real Chromium, controlled by its DevTools protocol."""

import json
import re
import shutil
import subprocess
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
)


class Page:
    """One tab. `complaints` holds what the browser said of errors, the policy's refusals among them."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._calls = 0
        self.complaints: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    @property
    def refused(self) -> list[str]:
        """What threw, and what the page's security policy refused."""
        return [one for one in self.complaints if "Security Policy" in one or "exceptionDetails" in one]

    def ask(self, method: str, **parameters: Any) -> Any:
        """One command of the protocol and its result."""
        self._calls += 1
        self._connection.send(json.dumps({"id": self._calls, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv(timeout=30))
            if message.get("id") == self._calls:
                assert "error" not in message, message
                return message["result"]
            if message.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
                self.complaints.append(json.dumps(message["params"]))

    def open(self, url: str) -> None:
        """Once, into the empty tab."""
        self.ask("Page.navigate", url=url)
        self.wait_for("location.protocol !== 'about:' && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression on the page."""
        outcome = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in outcome, outcome
        return outcome["result"].get("value")

    def wait_for(self, script: str, within_s: float = 30.0) -> None:
        """Until the expression is true."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            if self.run(f"Boolean({script})"):
                return
            time.sleep(0.05)
        raise AssertionError(f"never true: {script}; the page says {self.run('document.body.innerText')!r}")

    def enter_key(self, key: str) -> None:
        """Submit the form for the API key."""
        self.run(f"document.querySelector('#key').value = {json.dumps(key)}")
        self.run("document.querySelector('#key-form').requestSubmit()")

    def picture(self, path: Path, width: int, height: int, *, dark: bool = False) -> None:
        """A picture of the window, as PNG."""
        self.set_window(width, height, dark=dark)
        time.sleep(0.6)  # rows are still gliding
        path.write_bytes(b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))

    def set_window(self, width: int, height: int, *, dark: bool = False) -> None:
        """Size of the window, in pixels, and colour scheme."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )


@contextmanager
def browser_page(profile: Path) -> Iterator[Page]:
    """A fresh browser with one empty tab; ended by its own pid."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *_FLAGS, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        found = next(filter(None, (re.search(r"ws://([^/]+)/", line) for line in process.stderr)))
        tabs = httpx.get(f"http://{found[1]}/json/list", timeout=30).json()
        address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        with connect(address, max_size=None, proxy=None) as connection:
            yield Page(connection)
    finally:
        process.terminate()
        process.wait(20)
        assert process.stderr is not None
        process.stderr.close()
