"""Start page, page of the API, HEAD and trailing slashes: no other host is named or loaded."""

import re

import pytest

from tests.serving.conftest import MakeClient


def test_the_page_of_the_api_loads_its_own_files_alone(make_client: MakeClient) -> None:
    client = make_client()
    page = client.get("/docs")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "//" not in re.sub(r"<!--.*?-->", "", page.text)
    for link in re.findall(r'(?:src|href)="([^"#]+)"', page.text):
        found = client.get(f"/{link}")
        assert found.status_code == 200, link
    script = client.get("/docs/docs.js")
    assert "http" not in re.sub(r"//.*", "", script.text)
    assert client.get("/docs/none.js").status_code == 404


@pytest.mark.parametrize(("console", "page"), [(True, "console"), (False, "docs")])
def test_the_start_page_is_the_console_or_the_page_of_the_api(
    make_client: MakeClient, console: bool, page: str
) -> None:
    response = make_client(console=console).get("/", follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (307, page)


def test_redoc_leads_to_the_page_of_the_api(make_client: MakeClient) -> None:
    assert make_client().get("/redoc", follow_redirects=False).headers["location"] == "docs"


@pytest.mark.parametrize(
    "path", ["/health/live", "/health/ready", "/v2/health/live", "/metrics", "/console", "/docs", "/openapi.json", "/"]
)
def test_head_is_get_without_the_body(make_client: MakeClient, path: str) -> None:
    client = make_client()
    head, get = client.head(path, follow_redirects=False), client.get(path, follow_redirects=False)
    assert head.status_code == get.status_code
    assert head.headers["content-type"] == get.headers["content-type"] if "content-type" in get.headers else True
    assert head.content == b""


@pytest.mark.parametrize("path", ["/recommend", "/users/ann/history"])
def test_head_is_refused_where_reading_is_recorded_or_personal(make_client: MakeClient, path: str) -> None:
    assert make_client().head(path).status_code == 405


@pytest.mark.parametrize("path", ["/recommend/", "/events/", "/models/", "/health/live/", "/docs/", "/refreshes/"])
def test_no_path_redirects_to_the_host_of_the_request(make_client: MakeClient, path: str) -> None:
    response = make_client().get(path, headers={"host": "evil.example"}, follow_redirects=False)
    assert response.status_code in (404, 405)
    assert "evil.example" not in str(response.headers)
