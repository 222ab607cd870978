"""The generated API reference is that of this application, independent of the environment."""

import json
from pathlib import Path

import pytest

from retort.serving.api.api_docs import OPENAPI, PAGE, api_files

DOCS = Path(__file__).parents[3] / "docs" / "reference" / "http"


def test_the_files_are_up_to_date(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {"RETORT_BUNDLE": "nowhere", "RETORT_MAX_K": "3", "REDIS_URL": "redis://127.0.0.1:1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    for name, content in api_files().items():
        assert (DOCS / name).read_text(encoding="utf-8") == content, (
            f"docs/reference/http/{name} is old; run `make api-docs`."
        )
    assert list(tmp_path.iterdir()) == [], "describing leaves nothing behind"


def test_the_page_names_every_route() -> None:
    paths = json.loads((DOCS / OPENAPI).read_text())["paths"]
    page = (DOCS / PAGE).read_text()
    for path, methods in paths.items():
        for method, route in methods.items():
            assert f"`{method.upper()} {path}`" in page
            assert route["summary"]
