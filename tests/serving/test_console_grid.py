"""The console in four windows, without data, without a server, with a wrong key, and with a million items."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_core_python
import httpx
import numpy as np
import pytest

from retort.serving.api.auth import Scope, create_key
from tests.serving._browser import CHROMIUM, Page, browser_page
from tests.serving._graphs import make_bundle
from tests.serving._process import serving_process
from tests.serving.api.test_auth import write
from tests.serving.test_console_pages import AB_TEST, goto, publish, type_into

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH"),
]
READY = {
    "overview": "document.querySelectorAll('#overview .chip').length > 3",
    "try?user=ann": "document.querySelector('#answer [data-item]') && document.querySelector('#facets .chip')",
    "items?id=i1": "document.querySelector('#item .found li')",
    "map": "document.querySelectorAll('#map-legend .entry').length === 3",
    "models": "document.querySelector('.delta .badge') && document.querySelector('#compare:not([hidden])')",
    "experiments": "document.querySelector('#experiment tbody tr') && document.querySelector('#offline .forest')",
    "user?id=ann": "document.querySelector('#erase-id')",
    "refreshes": "document.querySelector('#refreshes .card, #refreshes .problem')",
    "health": "document.querySelector('#health table')",
}
WINDOWS = [(1280, 900, False), (1280, 900, True), (390, 844, False), (390, 844, True)]
FOUND = "(found) => found.violations.map((rule) => [rule.id, rule.impact, ...rule.nodes.map((node) => node.html)])"
MILLION = 1_000_000


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with browser_page(tmp_path / "profile") as page:
        page.ask("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
        yield page


def look(page: Page, picture: Path, window: tuple[int, int, bool]) -> None:
    page.picture(picture, window[0], window[1], dark=window[2])


def faults_of(page: Page, picture: Path, window: tuple[int, int, bool]) -> Iterator[object]:
    """What axe finds on each page in a window, and pages that scroll sideways."""
    for view, is_ready in READY.items():
        goto(page, view, is_ready)
        look(page, picture, window)
        if page.run("document.documentElement.scrollWidth > innerWidth"):
            yield view, window, "scrolls sideways"
        yield from ((view, window, rule) for rule in page.run(f"axe.run().then({FOUND})"))


def test_every_page_fits_every_window_and_axe_finds_nothing(page: Page, tmp_path: Path) -> None:
    script = Path(axe_core_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
    publish(tmp_path)
    (tmp_path / "ab.json").write_text(json.dumps(AB_TEST))
    with serving_process(tmp_path, retort_experiment=tmp_path / "ab.json") as server:
        server.ready()
        with httpx.Client(base_url=server.url) as client:
            client.post("/events", json=[{"user_id": "ann", "item_id": f"i{n}"} for n in (1, 2, 5)])
            for number in range(40):
                client.post("/recommend", json={"user_id": f"visitor-{number}"})
        page.open(f"{server.url}/")
        page.run(f"{script};0")
        faults = [fault for window in WINDOWS for fault in faults_of(page, tmp_path / "window.png", window)]
    assert faults == []


def test_an_empty_system_says_what_is_missing(page: Page, tmp_path: Path) -> None:
    with serving_process(tmp_path) as server:
        page.open(f"{server.url}/")
        for view, sentence in {
            "overview": "No bundle is loaded yet: train and publish one",
            "try?user=ann": "No bundle is loaded and RETORT_STATIC_ITEMS is empty",
            "items": "No bundle is loaded; publish one",
            "map": "No bundle is loaded; publish one",
            "models": "There is no database yet",
            "experiments": "retort experiment publish NAME",
        }.items():
            page.run(f"location.hash = {json.dumps('#' + view)}")
            page.wait_for(f"document.querySelector('section:not([hidden])').innerText.includes({json.dumps(sentence)})")


def test_a_dead_server_and_a_wrong_key_are_said_on_every_page(page: Page, tmp_path: Path) -> None:
    key, entry = create_key("shop", frozenset(Scope))
    write(tmp_path / "keys.json", [entry])
    bundle = make_bundle(tmp_path / "bundles")
    views = ("overview", "try?user=ann", "items", "map", "models", "experiments", "user?id=ann")
    with serving_process(tmp_path, retort_bundle=bundle, retort_keys_file=tmp_path / "keys.json") as server:
        server.ready()
        page.open(f"{server.url}/")
        for typed, sentence in (("", "Enter a key at the top"), ("rt_wrong", "is not one of this server")):
            page.enter_key(typed)
            for view in views:
                page.run(f"location.hash = {json.dumps('#' + view)}")
                page.wait_for(
                    f"document.querySelector('section:not([hidden])').innerText.includes({json.dumps(sentence)})"
                )
        page.enter_key(key)
        goto(page, "items", "document.querySelector('#found a')")
    for view in views:
        page.run(f"location.hash = {json.dumps('#' + view)}")
        page.wait_for("document.querySelector('section:not([hidden])').innerText.includes('The server is down.')")
    assert page.run("document.querySelector('#state').textContent") == "no answer"


ZOOMED = """(async () => {
  const started = performance.now();
  document.querySelector('#map-in').click();
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return (performance.now() - started) / 1000;
})()"""


def test_a_million_items_are_searched_and_shown(page: Page, tmp_path: Path, record_property: Any) -> None:
    places = np.random.default_rng(0).normal(32768, 9000, (MILLION, 2)).clip(0, 65535).astype(np.uint16)
    bundle = make_bundle(tmp_path / "bundles", n_items=MILLION, places=places)
    with serving_process(tmp_path, retort_bundle=bundle, retort_latency_gate_ms=10_000) as server:
        server.ready(300)
        with httpx.Client(base_url=server.url, timeout=120) as client:
            seconds: dict[str, float] = {}
            for name, path in {
                "facets": "/facets",
                "first search": "/items?query=t",
                "search of one letter": "/items?query=t",
                "search of words": "/items?query=title%209999",
                "places": "/map",
                "colours": "/map/colours?attribute=genre",
            }.items():
                started = time.monotonic()
                client.get(path).raise_for_status()
                seconds[name] = round(time.monotonic() - started, 3)
        page.open(f"{server.url}/console#map")
        page.wait_for("document.querySelectorAll('#map-legend .entry').length === 3", 120)
        assert page.run("document.querySelector('#map-count').textContent").startswith("1,000,000 items.")
        seconds["frame"] = round(float(page.run(ZOOMED)), 3)
        type_into(page, "#map-find", "title 999999")
        page.wait_for("document.querySelector('#map-find + .suggestions:not([hidden]) li')")
        goto(page, "items", "document.querySelectorAll('#found a').length === 50")
        print(seconds)
        assert max(seconds["search of one letter"], seconds["search of words"]) < 0.5, seconds
