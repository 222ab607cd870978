"""The console: static files under a strict policy that call the public API only."""

import re
from pathlib import Path

import pytest
from httpx import Response

from retort.serving.api.auth import Scope, create_key
from retort.serving.api.routes.console import FILES
from tests.serving.api.test_auth import write
from tests.serving.conftest import MakeClient

PAGE = (FILES / "index.html").read_text(encoding="utf-8")
SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(FILES.glob("*.js"))}
SHEETS = {path.name: path.read_text(encoding="utf-8") for path in sorted(FILES.glob("*.css"))}
SVG = "http://www.w3.org/2000/svg"  # a name, from which nothing is loaded
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", "console": "text/html"}
ROUTE = re.compile(r'\w+: \["([A-Z]+)", "([^"]+)"\]')


def addresses() -> list[str]:
    return ["/console", *(f"/console/{path.name}" for path in sorted(FILES.iterdir()) if path.suffix != ".html")]


def test_every_file_has_its_type_and_the_policy(make_client: MakeClient) -> None:
    client = make_client()
    for address in addresses():
        check_headers(client.get(address), address)


def check_headers(answer: Response, address: str) -> None:
    assert answer.status_code == 200
    assert answer.headers["content-type"].split(";")[0] == TYPES[Path(address).suffix or "console"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["form-action"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"


def test_nothing_else_can_be_read(make_client: MakeClient) -> None:
    client = make_client()
    outside = ["..", "%2e%2e/settings.py", "..%2fsettings.py", "%2e%2e%2f%2e%2e%2f.env", ""]
    for path in ["nope.js", "index.html", *outside]:
        answer = client.get(f"/console/{path}", follow_redirects=False)
        # without a name, and at the root of the server, the page itself is named
        assert answer.status_code == (307 if path in ("", "..") else 404), path
        assert "settings" not in answer.text


def test_a_trailing_slash_redirects_relatively(make_client: MakeClient) -> None:
    answer = make_client().get("/console/", follow_redirects=False)
    # not absolute: the server knows neither the port nor the prefix nor the scheme that the caller used
    assert (answer.status_code, answer.headers["location"]) == (307, "../console")
    assert str(answer.url.join(answer.headers["location"])) == "http://testserver/console"


def test_the_console_can_be_disabled(make_client: MakeClient) -> None:
    client = make_client(console=False)
    assert {client.get(address).status_code for address in addresses()} == {404}


def test_the_page_requires_no_key_but_its_requests_do(make_client: MakeClient, tmp_path: Path) -> None:
    write(tmp_path / "keys.json", [create_key("shop", frozenset({Scope.READ}))[1]])
    client = make_client(keys_file=tmp_path / "keys.json")
    assert client.get("/console").status_code == 200
    assert client.get("/console/console.js").status_code == 200
    assert client.get("/models").status_code == client.post("/recommend", json={"user_id": "u"}).status_code == 401


def test_metrics_hold_the_pattern_and_not_the_path(make_client: MakeClient) -> None:
    client = make_client()
    client.get("/console/console.js")
    client.get("/console/my-secret")
    text = client.get("/metrics").text
    assert 'route="/console/{name}"' in text
    assert "my-secret" not in text


def test_every_route_of_the_scripts_is_in_the_api(make_client: MakeClient) -> None:
    paths = make_client().get("/openapi.json").json()["paths"]
    asked = ROUTE.findall(SCRIPTS["api.js"])
    assert len(asked) > 10
    assert [f"{method} {path}" for method, path in asked if method.lower() not in paths.get(path, {})] == []
    assert [name for name, text in SCRIPTS.items() if "fetch(" in text] == ["api.js"], "one client of the API"
    named = set(re.findall(r"^  (\w+): \[", SCRIPTS["api.js"], re.MULTILINE))
    called = {name for text in SCRIPTS.values() for name in re.findall(r'\b(?:call|tryCall)\("(\w+)"', text)}
    assert called == named


def test_models_list_the_attributes_of_items(make_client: MakeClient) -> None:
    client = make_client()
    fields = client.get("/models").json()["models"][0]["fields"]
    assert "title" in fields
    assert client.post("/recommend", json={"history": [], "fields": fields}).status_code == 200


@pytest.mark.parametrize("name", [*SCRIPTS, *SHEETS, "index.html"])
def test_no_text_becomes_code_and_nothing_is_loaded_from_outside(name: str) -> None:
    text = (FILES / name).read_text(encoding="utf-8")
    for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "new Function", "localStorage"):
        assert word not in text, word
    assert not re.findall(r"(?:https?:)?//[a-z0-9-]+\.", text.replace(SVG, "")), "an address outside"
    assert not re.findall(r"@import|\burl\(", text)


def test_the_page_holds_no_code_and_no_style() -> None:
    assert not re.findall(r"<style|\sstyle=|\son[a-z]+=|javascript:", PAGE)
    assert re.findall(r"<script[^>]*>([^<]*)</script>", PAGE) == [""]


def test_every_field_of_the_page_has_a_label() -> None:
    outside = re.sub(r'<label(?: class="check")?>.*?</label>', "", PAGE, flags=re.DOTALL)
    for field in re.findall(r"<(?:input|select|textarea)[^>]*>", outside):
        found = re.search(r'\bid="([^"]+)"', field)
        assert found, field
        assert f'for="{found[1]}"' in PAGE, field


def test_every_element_used_by_a_script_is_on_the_page() -> None:
    wanted = {one for text in SCRIPTS.values() for one in re.findall(r'byId\("([^"]+)"\)', text)}
    assert wanted <= set(re.findall(r'\bid="([^"]+)"', PAGE))


def test_the_console_stays_small(make_client: MakeClient) -> None:
    client = make_client()
    sizes = {}
    for address in addresses():
        packed, plain = (client.get(address, headers={"accept-encoding": one}) for one in ("gzip", "identity"))
        assert packed.content == plain.content
        assert packed.headers["content-encoding"] == "gzip"
        assert "content-encoding" not in plain.headers
        sizes[address] = int(packed.headers["content-length"])
    assert sum(sizes.values()) < 70_000, sizes
    assert sum(path.stat().st_size for path in FILES.iterdir()) < 200_000
    assert all(text.count("\n") <= 260 for text in (*SCRIPTS.values(), *SHEETS.values(), PAGE))
