"""Each page of the console in a real browser: one server over a registry with two models, one browser."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pytest

from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database
from retort.shared.model import registry
from retort.shared.model.manifest import read_manifest
from retort.shared.model.offline_results import store_table
from tests.serving._browser import CHROMIUM, Page, browser_page
from tests.serving._graphs import make_bundle
from tests.serving._process import Server, serving_process
from tests.serving.test_experiment_route import offline_table

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
AB_TEST = {
    "name": "autumn",
    "variants": [{"name": "control", "share": 0.5}, {"name": "new", "share": 0.5, "alias": "challenger"}],
}
# Reads the pixels in the frame in which they are drawn: later, WebGL has discarded them.
DRAWN = """new Promise((done) => {
  document.querySelector('#map-all').click();
  requestAnimationFrame(() => {
    const [map, copy] = [document.querySelector('#map'), document.createElement('canvas')];
    [copy.width, copy.height] = [map.width, map.height];
    const context = copy.getContext('2d');
    context.drawImage(map, 0, 0);
    done(context.getImageData(0, 0, map.width, map.height).data.some((value) => value > 0));
  });
})"""


def publish(home: Path) -> None:
    """Two models: the champion, and a challenger that ranks otherwise."""
    url = f"sqlite:///{home / 'retort.db'}"
    upgrade(url)
    engine = open_database(url)
    for alias, seed, rank in (("champion", 0, 3), ("challenger", 1, 1)):
        ranks = {f"h{user}": rank for user in range(40)}
        knowledge = {"i1": "argan oil, dry hair"}
        places = np.random.default_rng(seed).integers(0, 65536, (60, 2)).astype(np.uint16)
        users = {"user_places": {"ann": (30_000, 40_000)}, "created_at": datetime.now(UTC).isoformat()}
        texts = {"knowledge": knowledge, "places": places, **users}
        path = make_bundle(home / "bundles", name=alias, seed=seed, ranks=ranks, **texts)  # type: ignore[arg-type]
        registry.publish(engine, read_manifest(path), str(path))
        registry.promote(engine, path.name, alias, set_by="ann", reason="ndcg@10: better")
    for name in ("first", "second"):
        store_table(engine, offline_table(name, f"Experiment <b>{name}</b>"))
    engine.dispose()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("home")
    publish(home)
    (home / "ab.json").write_text(json.dumps(AB_TEST))
    with serving_process(home, retort_experiment=home / "ab.json") as server:
        server.ready()
        for user in ("ann", "bob", "carl"):
            events = [{"user_id": user, "item_id": f"i{n}"} for n in (1, 2, 5)]
            httpx.post(f"{server.url}/events", json=events).raise_for_status()
        yield server


@pytest.fixture(scope="module")
def page(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser_page(tmp_path_factory.mktemp("profile")) as page:
        page.ask("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
        page.open(f"{server.url}/")
        yield page


@pytest.fixture(autouse=True)
def no_complaint(page: Page) -> Iterator[None]:
    page.complaints.clear()
    yield
    refused = [complaint for complaint in page.complaints if "Policy" in complaint or "exceptionDetails" in complaint]
    assert refused == [], "nothing threw, and the policy refused nothing"


def shown_lists(server: Server) -> int:
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("retort_exposures_total{"))  # type: ignore[misc]


def goto(page: Page, view: str, is_ready: str) -> None:
    page.run(f"location.hash = {json.dumps('#' + view)}")
    page.wait_for(is_ready)


def type_into(page: Page, field: str, text: str) -> None:
    """Type into a field as a person does: with the focus, and key by key for the page."""
    page.run(
        f"document.querySelector({json.dumps(field)}).value = ''; document.querySelector({json.dumps(field)}).focus()"
    )
    page.ask("Input.insertText", text=text)


def press(page: Page, key: str) -> None:
    code, text = (13, {"text": "\r"}) if key == "Enter" else (40, {})
    for kind, more in (("keyDown", text), ("keyUp", {})):
        page.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **more)


def test_the_start_page_is_the_overview(page: Page) -> None:
    page.wait_for("document.querySelectorAll('#overview .tile').length === 6")
    tiles = page.run("[...document.querySelectorAll('#overview .tile')].map((tile) => tile.textContent)")
    assert tiles[:2] == ["60items", "3users with a history"]
    text = page.run("document.querySelector('#overview').textContent")
    assert "challenger → challenger@1" in text
    assert page.run("[...document.querySelectorAll('#overview a[href*=user]')].map((link) => link.textContent)") == [
        "ann",
        "bob",
        "carl",
    ]


def test_a_user_and_a_filter_are_chosen_without_typing_them_whole(page: Page, server: Server) -> None:
    goto(page, "try", "document.querySelector('#facets .chip')")
    type_into(page, "#ask [name=subject]", "an")
    page.wait_for("document.querySelector('.suggestions:not([hidden]) li')")
    press(page, "ArrowDown")
    press(page, "Enter")
    page.wait_for("document.querySelectorAll('#answer [data-item]').length === 10")
    assert page.run("document.querySelector('#ask').elements.subject.value") == "ann"
    page.run("document.querySelector('[data-facet=genre] [data-value=drama]').click()")
    assert page.run("document.querySelector('#ask').elements.filter.value") == '{"genre":"drama"}'
    page.run("document.querySelector('#ask').requestSubmit()")
    page.wait_for("[...document.querySelectorAll('#answer .fields')].every((row) => row.textContent.includes('drama'))")
    assert shown_lists(server) == 0, "looking is not showing"


def test_one_history_by_two_models_is_two_joined_lists(page: Page, server: Server) -> None:
    goto(page, "try?user=ann", "document.querySelector('#two-models:not([hidden])')")
    page.wait_for("document.querySelector('#answer [data-item]')")
    page.run("document.querySelector('#two-models').click()")
    page.wait_for("document.querySelectorAll('.joined .item').length === 20")
    columns = (
        "[...document.querySelectorAll('.joined ol')].map((list) => [...list.children].map((row) => row.dataset.item))"
    )
    left, right = page.run(columns)
    assert left != right
    page.wait_for(f"document.querySelectorAll('.lines path').length === {len(set(left) & set(right))}")
    assert shown_lists(server) == 0


def test_an_item_is_found_and_shown_with_its_knowledge_and_similar_ones(page: Page, server: Server) -> None:
    goto(page, "items", "document.querySelectorAll('#found a').length === 50")
    type_into(page, "#find [name=query]", "titl 1")
    page.wait_for("document.querySelector('#found-count').textContent.startsWith('11 found')")
    page.run("document.querySelector('#found a').click()")
    page.wait_for("document.querySelectorAll('#item .found li').length === 10")
    text = page.run("document.querySelector('#item').textContent")
    assert "knowledge argan oil, dry hair (llm-1," in text
    assert "590 train events: number 1 of 60." in text
    assert shown_lists(server) == 0


def test_models_are_compared_promoted_and_rolled_back(page: Page) -> None:
    goto(page, "models", "document.querySelector('.delta .badge')")
    row = "document.querySelector('.versions li:has(.delta .badge)')"
    assert "gate: passes" in page.run(f"{row}.querySelector('.delta').textContent")
    assert "+100.0 % [+100.0 %, +100.0 %]" in page.run(f"{row}.querySelector('.delta').textContent")
    assert page.run("document.querySelectorAll('.timeline .point').length") == 2
    page.run(f"{row}.querySelector('button').click()")
    page.run("document.querySelector('.versions .outcome button').click()")
    page.wait_for("document.querySelector('#rolled').textContent.includes('challenger@1 is the champion')")
    page.run("document.querySelector('#versions button.aside').click()")
    page.run("document.querySelector('#versions button.aside').click()")
    page.wait_for("document.querySelector('#rolled').textContent.includes('The champion is champion@1 again')")


def test_the_map_shows_finds_and_opens_items(page: Page, server: Server) -> None:
    goto(page, "map", "document.querySelectorAll('#map-legend .entry').length === 3")
    assert page.run("document.querySelector('#map-count').textContent").startswith("60 items.")
    assert page.run(DRAWN), "pixels of the canvas have a colour"
    type_into(page, "#map-find", "i42")
    page.wait_for("document.querySelector('#map-find + .suggestions:not([hidden]) li')")
    press(page, "ArrowDown")
    press(page, "Enter")
    page.wait_for("document.querySelector('#map-item').textContent.includes('Title 42')")
    # the item is in the middle of the map now: a click there opens it again
    page.run("document.querySelector('#map-item').replaceChildren()")
    page.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    middle = "(({x, y, width, height}) => [x + width / 2, y + height / 2])"
    box = page.run(f"{middle}(document.querySelector('#map').getBoundingClientRect())")
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        page.ask("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)
    page.wait_for("document.querySelector('#map-item').textContent.includes('Title 42')")
    page.wait_for("document.querySelector('#map-label:not([hidden])')?.textContent.includes('Title 42')")
    page.run("document.querySelector('#map-users').click()")
    page.wait_for("document.querySelector('#map-problem').textContent.includes('1 among the items whose texts')")
    assert "at a typical item of their history" in page.run("document.querySelector('#map-problem').textContent")
    page.run("document.querySelector('#map-item a.button').click()")
    page.wait_for("document.querySelector('#ask').elements.subject.value === 'i42'")
    assert shown_lists(server) == 0


def test_the_a_b_test_is_shown_with_its_counts(page: Page, server: Server) -> None:
    with httpx.Client(base_url=server.url) as client:
        for number in range(24):
            client.post("/recommend", json={"user_id": f"visitor-{number}"}).raise_for_status()
    goto(page, "experiments", "document.querySelectorAll('#experiment tbody tr').length === 2")
    rows = page.run("[...document.querySelectorAll('#experiment tbody tr')].map((row) => row.children[3].textContent)")
    assert sum(map(int, rows)) == shown_lists(server) == 24
    assert "control has no click yet" in page.run("document.querySelector('#experiment').textContent")


def test_offline_experiments_are_forest_plots_that_open_by_the_keyboard(page: Page, server: Server) -> None:
    goto(page, "experiments", "document.querySelectorAll('#offline details.offline').length === 2")
    newest, older = (f"document.querySelectorAll('#offline > details')[{at}]" for at in (0, 1))
    assert page.run(f"[{newest}.open, {older}.open]") == [True, False]
    rows = page.run(f"[...{newest}.querySelectorAll('.forest li')].map((row) => [row.className, row.innerText])")
    assert [kind for kind, _ in rows] == ["good", "soft"], "controls are greyed"
    assert "+6.0 % [+4.0 %, +8.0 %], 2 of 5 seeds" in rows[0][1]
    assert "control of text" in rows[1][1]
    assert page.run(f"{newest}.querySelectorAll('svg.interval').length") == 2
    words = page.run(f"{newest}.innerText")
    for word in ("Experiment <b>second</b>", "Baseline plain: 0.1800", "500 users", "Not run yet: profile · sasrec"):
        assert word in words
    page.run(f"{older}.querySelector('summary').focus()")
    press(page, "Enter")
    page.wait_for(f"{older}.open")
