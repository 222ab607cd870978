"""The console in a real browser, over a real server."""

import json
from collections.abc import Iterator
from pathlib import Path

import axe_core_python
import httpx
import pytest

from retort.serving.api.auth import Scope, create_key
from tests.serving._browser import CHROMIUM, Page, browser_page
from tests.serving._graphs import make_bundle
from tests.serving._process import serving_process
from tests.serving.api.test_auth import write

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH"),
]
IDS = "[...document.querySelectorAll('#answer [data-item]')].map((row) => row.dataset.item)"
STRANGE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with browser_page(tmp_path / "profile") as page:
        yield page
        assert page.refused == [], "nothing threw, and the policy refused nothing of ours"


def test_a_link_requests_a_list_and_a_click_sends_an_event(page: Page, bundle_path: Path, tmp_path: Path) -> None:
    with serving_process(tmp_path, retort_bundle=bundle_path) as server:
        server.ready()
        for item_id in ("i1", "i2", STRANGE):
            httpx.post(f"{server.url}/events", json={"user_id": "u1", "item_id": item_id})
        own = httpx.post(f"{server.url}/recommend", json={"user_id": "u1", "k": 5, "dry_run": True}).json()
        page.open(f"{server.url}/console#try?user=u1&k=5&record=1")
        page.wait_for(f"{IDS}.length === 5")
        assert page.run(IDS) == [item["item_id"] for item in own["items"]]
        assert page.run("document.querySelector('#answer .title').textContent").startswith("Title ")
        page.wait_for(f"document.querySelector('#history').textContent.includes({json.dumps(STRANGE)})")
        assert page.run("document.images.length") == 1, "an id is text, whatever it says"

        # typed and not yet asked for: the list, and so the click, is still u1's
        page.run("document.querySelector('#ask').elements.subject.value = 'somebody-else'")
        page.run("document.querySelectorAll('#answer .title')[2].dispatchEvent(new Event('click'))")
        page.run("document.querySelectorAll('#answer .title')[2].dispatchEvent(new Event('click'))")
        page.wait_for("document.querySelector('#answer .move')")
        chosen = own["items"][2]["item_id"]
        assert chosen not in page.run(IDS)
        assert chosen in page.run("document.querySelector('.gone').textContent")
        events = httpx.get(f"{server.url}/users/u1/history").json()["events"]
        assert [event["item_id"] for event in events[3:]] == [chosen], "a double click is one event"
        assert httpx.get(f"{server.url}/users/somebody-else/history").json()["events"] == []
        assert (
            'retort_exposed_events_total{experiment="none",source="student"' in httpx.get(f"{server.url}/metrics").text
        )

        page.run("document.querySelector('#answer .more').click()")
        page.wait_for(f"{IDS}.length === 10")
        assert len(set(page.run(IDS))) == 10


def test_every_view_opens_and_reports_what_is_missing(page: Page, bundle_path: Path, tmp_path: Path) -> None:
    with serving_process(tmp_path, retort_bundle=bundle_path) as server:
        server.ready()
        httpx.post(f"{server.url}/events", json={"user_id": "u1", "item_id": "i1"})
        page.open(f"{server.url}/console#models?history=i1,i2")
        page.wait_for("document.querySelector('#compare:not([hidden])')")
        page.run("document.querySelector('#compare button').click()")
        page.wait_for("document.querySelectorAll('#compared .item').length === 20")
        for view, sentence in {
            "refreshes": "503There is no database yet",
            "user?id=nobody": "No event is stored.",
            "user?id=..": "A path cannot hold the id",
            "health": "Latency by stage",
            "try?user=u&filter={": "The filter is not valid JSON",
            'try?user=u&filter={"nope": 1}': "422filter.nope: items have no such attribute",
            "try?user=u": "Answered by popular items because the user is unknown.",
        }.items():
            page.run(f"location.hash = {json.dumps('#' + view)}")
            page.wait_for(
                f"document.querySelector('section:not([hidden])').textContent.includes({json.dumps(sentence)})"
            )


def test_an_erasure_requires_the_full_user_id(page: Page, bundle_path: Path, tmp_path: Path) -> None:
    with serving_process(tmp_path, retort_bundle=bundle_path) as server:
        server.ready()
        httpx.post(f"{server.url}/events", json={"user_id": "ann", "item_id": "i1"})
        page.open(f"{server.url}/console#user?id=ann")
        page.wait_for("document.querySelector('#erase-id')")
        for typed in ("an", "ann"):
            page.run(f"document.querySelector('#erase-id').value = {json.dumps(typed)}")
            page.run("document.querySelector('#erase-id').dispatchEvent(new Event('input'))")
            assert page.run("document.querySelector('.danger').disabled") == (typed == "an")
            assert len(httpx.get(f"{server.url}/users/ann/history").json()["events"]) == 1
        page.run("document.querySelector('.danger').click()")
        page.wait_for("document.querySelector('#user-data').textContent.includes('is erased')")
        assert "i1" not in page.run("document.querySelector('#user-data').textContent")
        assert httpx.get(f"{server.url}/users/ann/history").json()["events"] == []


def test_editing_the_id_does_not_cancel_a_look_up(page: Page, bundle_path: Path, tmp_path: Path) -> None:
    with serving_process(tmp_path, retort_bundle=bundle_path) as server:
        server.ready()
        page.open(f"{server.url}/console#user")
        page.wait_for("document.querySelector('#view-user:not([hidden])')")
        page.run(
            "document.querySelector('#look-up-id').value = 'u1';"
            "document.querySelector('#look-up').requestSubmit();"
            "document.querySelector('#look-up-id').value = 'u12'"
        )
        page.wait_for("document.querySelector('#user-data a[href=\"#try?user=u1\"]')")
        page.wait_for("!document.querySelector('#user-data').hasAttribute('aria-busy')")


def test_the_key_is_requested_sent_and_never_shown(page: Page, bundle_path: Path, tmp_path: Path) -> None:
    key, entry = create_key("shop", frozenset({Scope.READ}))
    write(tmp_path / "keys.json", [entry])
    with serving_process(tmp_path, retort_bundle=bundle_path, retort_keys_file=tmp_path / "keys.json") as server:
        server.ready()
        page.open(f"{server.url}/console#try?user=u1")
        page.wait_for("document.querySelector('#answer').textContent.includes('401A valid API key is required')")
        page.enter_key(key)
        page.wait_for(f"{IDS}.length === 10")
        assert "$RETORT_API_KEY" in page.run("document.querySelector('.curl pre').textContent")
        assert key not in page.run("document.documentElement.outerHTML + location.href + document.cookie")
        assert page.run("localStorage.length") == 0
        page.run("location.hash = '#user?id=u1'")
        page.wait_for("document.querySelector('#user-data').textContent.includes('Use a key that has the admin scope')")


def test_a_wrong_key_is_not_taken_for_none(page: Page, bundle_path: Path, tmp_path: Path) -> None:
    key, entry = create_key("shop", frozenset({Scope.READ, Scope.WRITE, Scope.ADMIN}))
    write(tmp_path / "keys.json", [entry])
    shown = "document.querySelector('#user-data').textContent.includes"
    with serving_process(tmp_path, retort_bundle=bundle_path, retort_keys_file=tmp_path / "keys.json") as server:
        server.ready()
        page.open(f"{server.url}/console#user?id=ann")
        page.wait_for(f"{shown}('Enter a key at the top of the page')")
        for typed, is_wrong in (("retort_wrong", True), (key, False)):
            page.enter_key(typed)
            page.wait_for(f"document.querySelector('#key').getAttribute('aria-invalid') === '{str(is_wrong).lower()}'")
            assert page.run("document.querySelector('#key-state').textContent") == ("unknown key" if is_wrong else "")
            remark = "The key that you entered is not one of this server" if is_wrong else "No event is stored."
            page.wait_for(f"{shown}({json.dumps(remark)})")
            assert page.run(f"{shown}('No event is stored.')") is not is_wrong, "a refused read is no empty history"


def test_unknown_items_are_no_part_of_what_the_student_read(page: Page, bundle_path: Path, tmp_path: Path) -> None:
    with serving_process(tmp_path, retort_bundle=bundle_path) as server:
        server.ready()
        for item_id in ("i1", "new-1", "i2", "new-2"):
            httpx.post(f"{server.url}/events", json={"user_id": "u1", "item_id": item_id})
        page.open(f"{server.url}/console#try?user=u1")
        page.wait_for("document.querySelector('#history').textContent.includes('does not have 2 of these items')")
        assert "the student over 2 of the 4 newest events" in page.run("document.querySelector('#answer').textContent")
        marked = "[...document.querySelectorAll('#history li')].map((row) => row.textContent.includes('unknown'))"
        assert page.run(marked) == [True, False, True, False]
        page.run("location.hash = '#try?history=i1,i2'")
        page.wait_for("document.querySelector('#answer').textContent.includes('the student over the full history')")


def test_a_server_that_is_down_is_not_an_empty_history(page: Page, bundle_path: Path, tmp_path: Path) -> None:
    with serving_process(tmp_path, retort_bundle=bundle_path) as server:
        server.ready()
        page.open(f"{server.url}/console#user?id=u1")
        page.wait_for("document.querySelector('#user-data').textContent.includes('No event is stored.')")
        assert page.run("document.querySelector('#state').textContent") == "ready"
    page.run("document.querySelector('#look-up').requestSubmit()")
    page.wait_for("document.querySelector('#user-data').textContent.includes('The history could not be read.')")
    assert page.run("document.querySelector('#state').textContent") == "no answer"
    assert "No event is stored." not in page.run("document.querySelector('#user-data').textContent")


def test_axe_finds_nothing_in_any_view(page: Page, bundle_path: Path, tmp_path: Path) -> None:
    script = Path(axe_core_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
    ready = {
        "overview": "document.querySelector('#overview .chip')",
        "items?id=i1": "document.querySelector('#item .found li')",
        "try?user=u1": "document.querySelector('#answer [data-item]') && document.querySelector('#history ol')",
        "user?id=u1": "document.querySelector('#erase-id')",
        "models?history=i1": "document.querySelector('#compare:not([hidden])')",
        "refreshes": "document.querySelector('#refreshes .problem')",
        "health": "document.querySelector('#health table')",
    }
    findings = "(found) => found.violations.map((rule) => [rule.id, ...rule.nodes.map((node) => node.html)])"
    with serving_process(tmp_path, retort_bundle=bundle_path) as server:
        server.ready()
        for item_id in ("i1", "new-1"):
            httpx.post(f"{server.url}/events", json={"user_id": "u1", "item_id": item_id})
        page.open(f"{server.url}/console#try")
        page.run(f"{script};0")
        for width, dark in ((1280, False), (390, True)):
            page.picture(tmp_path / "window.png", width, 900, dark=dark)
            for view, is_ready in ready.items():
                page.run(f"location.hash = {json.dumps('#' + view)}")
                page.wait_for(is_ready)
                assert page.run(f"axe.run().then({findings})") == [], f"{view}, {width} pixels, dark: {dark}"


def test_knowledge_is_shown_with_its_source_and_date(page: Page, tmp_path: Path) -> None:
    bundle = make_bundle(
        tmp_path / "bundles", knowledge={"i1": "argan oil, dry hair", "i2": f"mask, dry hair, {STRANGE}"}
    )
    with serving_process(tmp_path, retort_bundle=bundle) as server:
        server.ready()
        page.open(f"{server.url}/console#try?history=i1&k=59")
        page.wait_for("document.querySelector('[data-item=\"i2\"] .known')")
        known = page.run("document.querySelector('[data-item=\"i2\"] .known').textContent")
        assert known.startswith(f"knowledge mask, dry hair, {STRANGE}")
        assert "(llm-1, " in known
        assert page.run("document.querySelectorAll('#answer .known').length") == 1
        assert page.run("document.images.length") == 1, "a text is text, whatever it says"
