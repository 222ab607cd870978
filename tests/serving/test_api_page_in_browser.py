"""The page of the API in a real Chromium: Authorize with a key, and calls from the page."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from retort.serving.api.auth import Scope, create_key
from tests.serving._browser import CHROMIUM, Page, browser_page
from tests.serving._process import serving_process
from tests.serving.api.test_auth import write

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH"),
]


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with browser_page(tmp_path / "profile") as opened:
        yield opened
        assert opened.refused == [], "nothing threw, and the policy refused nothing of ours"


def _send(page: Page, operation: str, body: object = None, **parameters: str) -> str:
    """Fill in and send the form of an operation; what the page then says."""
    form = f"document.querySelector('#{operation} form')"
    page.run(
        f"document.querySelector('#{operation}').open = true; {form}.querySelector('[role=status]').replaceChildren()"
    )
    if body is not None:
        page.run(f"{form}.querySelector('textarea').value = {json.dumps(json.dumps(body))}")
    for name, value in parameters.items():
        page.run(f"{form}.querySelector('[name={name}]').value = {json.dumps(value)}")
    page.run(f"{form}.requestSubmit()")
    page.wait_for(f"{form}.textContent.includes('Status ')")
    return str(page.run(f"{form}.querySelector('[role=status]').textContent"))


def test_a_key_that_was_typed_in_makes_calls_succeed(page: Page, bundle_path: Path, tmp_path: Path) -> None:
    key, entry = create_key("shop", frozenset({Scope.READ}))
    write(tmp_path / "keys.json", [entry])
    with serving_process(tmp_path, retort_bundle=bundle_path, retort_keys_file=tmp_path / "keys.json") as server:
        server.ready()
        page.open(f"{server.url}/docs")
        page.wait_for("document.querySelector('#recommend form')")
        first = json.loads(page.run("document.querySelector('#recommend textarea').value"))
        assert first == {"user_id": "u42", "k": 10, "dry_run": True}, "a list that is only tried is not recorded"
        assert "Status 401" in _send(page, "recommend")
        page.enter_key(key)
        page.wait_for("document.querySelector('#key-state').textContent.includes('with this key')")
        answered = _send(page, "recommend")
        assert "Status 200" in answered
        assert '"source": "popular"' in answered
        assert "Status 200" in _send(page, "similar_items", item_id="i1", k="3")
        assert "did you mean user_id?" in _send(page, "recommend", {"user": "u1"})
        assert key not in page.run("document.documentElement.outerHTML + location.href + document.cookie")
