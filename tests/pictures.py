"""The pictures of the console in docs/pictures: `make pictures` takes all anew from a running `retort demo`.

Usage: `python -m tests.pictures [HOME]`; HOME is the RETORT_HOME of an earlier demo, whose finished work is used.
"""

import itertools
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from retort.offline.cli.demo_client import DemoClient
from retort.offline.local.subprocesses import end_process
from tests.serving._browser import Page, browser_page

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
_USER = "u0000000"  # the demo's sample user, whom the distilled student answers
_OTHER_USER = "u0000042"  # whose two lists share most items
_ITEM = "i036"
_WIDTH = 1280
_COLOURS = 256
_READINGS = 8  # of the overview's chart, five seconds apart
_GROUP = 9  # of visitors, a few times a second
_VISITORS = [f"u{number:07d}" for number in range(100, 1000)]


@dataclass(frozen=True)
class Shot:
    """A page of the console: its address, what is true once it is complete, and the height of the picture.

    `then` is a script that runs once `is_open` is true, such as a click.
    """

    name: str
    view: str
    height: int
    is_complete: str
    is_open: str = "true"
    then: str = "0"


SHOTS = (
    Shot(
        "console_overview",
        "overview",
        730,
        f"document.querySelector('#overview .spark .line')?.points.length >= {_READINGS}",
    ),
    Shot("console", f"try?user={_USER}&k=10", 800, "document.querySelectorAll('#answer .item').length === 10"),
    Shot(
        "console_two_models",
        f"try?user={_OTHER_USER}",
        620,
        "document.querySelector('#answer .joined .lines path') !== null",
        is_open="document.querySelector('#two-models:not([hidden])')",
        then="document.querySelector('#two-models').click()",
    ),
    Shot(
        "console_map",
        f"map?id={_ITEM}",
        920,
        "document.querySelectorAll('#map-legend .entry').length > 3",
        is_open="document.querySelector('#map-item .actions')",
        then="document.querySelector('#map-all').click()",
    ),
    Shot("console_models", "models", 800, "document.querySelector('#versions .delta .badge')"),
    Shot("console_experiments", "experiments", 900, "document.querySelector('#offline details.offline')"),
)


def picture_name(shot: Shot, *, dark: bool) -> str:
    """The file of a shot in light or dark colours."""
    return f"{shot.name}_dark.png" if dark else f"{shot.name}.png"


def main(home: str | None) -> None:
    """Run the demo and take every picture, in light and in dark colours."""
    with tempfile.TemporaryDirectory() as made, _demo(Path(home or made)) as url, _visitors(url):
        for dark in (False, True):
            with tempfile.TemporaryDirectory() as profile, browser_page(Path(profile)) as page:
                page.set_window(_WIDTH, SHOTS[0].height, dark=dark)
                page.open(f"{url}/console#overview")
                for shot in SHOTS:
                    path = PICTURES / picture_name(shot, dark=dark)
                    _take(page, shot, path, dark=dark)
                    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB", flush=True)
                assert not page.refused, page.refused


def _take(page: Page, shot: Shot, path: Path, *, dark: bool) -> None:
    """Open the page of a shot and write its picture, with a palette of 256 colours: a third of the bytes."""
    page.set_window(_WIDTH, shot.height, dark=dark)
    page.run(f"location.hash = '#{shot.view}'")
    page.wait_for(shot.is_open)
    page.run(shot.then)
    page.wait_for(shot.is_complete, within_s=90)
    page.picture(path, _WIDTH, shot.height, dark=dark)
    with Image.open(path) as picture:
        reduced = picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    reduced.save(path, optimize=True)


@contextmanager
def _demo(home: Path) -> Iterator[str]:
    """Run `retort demo` until it serves; yields the address of the API."""
    environment = {**os.environ, "RETORT_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "retort.offline.cli", "demo"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = ""
        for line in process.stdout:  # the demo reports a failure itself
            print(f"  {line}", end="", flush=True)
            if found := re.match(r"API: (http://\S+)", line):
                url = found[1]
            if line.startswith("Serving"):
                break
        assert url, "the demo ended before it served"
        yield url
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    finally:
        end_process(process, grace_s=30)


@contextmanager
def _visitors(url: str) -> Iterator[None]:
    """Let made-up visitors see lists and click by rule, at a changing rate, so that the overview shows some traffic."""
    ended = threading.Event()

    def visit() -> None:
        with DemoClient(url) as client:
            for number in itertools.count():
                first = number * _GROUP % len(_VISITORS)
                client.send_traffic(_VISITORS[first : first + _GROUP])
                if ended.wait(0.3 + 0.2 * math.sin(number / 8)):
                    return

    thread = threading.Thread(target=visit)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
