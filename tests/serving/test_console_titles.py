"""The console's pages with titles that break pages: right to left, very long, empty, markup; in two windows."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database
from retort.shared.model import registry
from retort.shared.model.bundle import MODEL
from retort.shared.model.manifest import read_manifest
from tests.serving._browser import CHROMIUM, Page, browser_page
from tests.serving._graphs import make_bundle
from tests.serving._process import serving_process

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH"),
]
TITLES = {
    1: "سكر ١٢ (2019) كغ",
    2: "x" * 300,
    3: "",
    4: "<b>bold</b> & 'quoted'",
    5: "\u202eevil\u202c",
    6: "word " * 60,
}
READY = {
    "overview": "document.querySelectorAll('#overview .chip').length > 8",
    "items?id=i2": "document.querySelector('#item .found li')",
    "try?user=ann": "document.querySelector('#answer [data-item]') && document.querySelector('#history bdi')",
    "map?id=i2": "document.querySelector('#map-item h2')",
    "models": "document.querySelector('#models .card')",
    "user?id=ann": "document.querySelector('#erase-id')",
}
_VISIBLE = "[...document.querySelectorAll('section:not([hidden]) :is({})')].filter((e) => e.checkVisibility())"
# links and buttons without a text
BLANK = f"{_VISIBLE.format('a, button')}.filter((e) => !e.innerText.trim()).map((e) => e.outerHTML)"
# texts from right to left that can move the numbers around them
MIXED = _VISIBLE.format(":not(bdi)") + (
    ".filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && /[\\u0600-\\u06ff\\u202e]/.test(n.textContent)))"
    ".map((e) => e.outerHTML)"
)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with browser_page(tmp_path / "profile") as page:
        yield page


def publish(home: Path) -> None:
    """A good champion, and a newer one that is refused."""
    url = f"sqlite:///{home / 'retort.db'}"
    upgrade(url)
    engine = open_database(url)
    places = np.random.default_rng(0).integers(0, 65536, (60, 2)).astype(np.uint16)
    good = make_bundle(home / "bundles", places=places, titles=TITLES)
    bad = make_bundle(home / "bundles", seed=1, places=places)
    for path in (good, bad):
        registry.publish(engine, read_manifest(path), str(path))
    registry.promote(engine, bad.name)
    (bad / MODEL).write_bytes(b"cut")
    notes = home / "serving"
    notes.mkdir()
    note = {"bundle_id": good.name, "uri": str(good)}
    (notes / "default.champion.json").write_text(json.dumps(note))
    engine.dispose()


def test_no_title_breaks_a_page_and_a_refused_champion_is_explained(page: Page, tmp_path: Path) -> None:
    publish(tmp_path)
    with serving_process(tmp_path) as server:
        server.ready()
        httpx.post(f"{server.url}/events", json=[{"user_id": "ann", "item_id": f"i{n}"} for n in range(1, 8)])
        page.open(f"{server.url}/console#overview")
        for width in (1280, 390):
            page.picture(tmp_path / "window.png", width, 900)
            for view, is_ready in READY.items():
                page.run(f"location.hash = {json.dumps('#' + view)}")
                page.wait_for(is_ready)
                where = f"{view} at {width}"
                assert not page.run("document.documentElement.scrollWidth > innerWidth"), f"{where} scrolls sideways"
                assert page.run(BLANK) == [], f"{where} has a link without a text"
                assert page.run(MIXED) == [], f"{where} mixes directions"
        page.run("location.hash = '#models'")
        page.wait_for(
            "document.querySelector('#models').textContent.includes('The bundle that the alias names does not')"
        )
        assert "model.onnx" in page.run("document.querySelector('#models .hint').textContent")
