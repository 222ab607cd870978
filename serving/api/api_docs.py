"""`python -m retort.serving.api.api_docs DIR`: the API's description as files, made from the application itself.

`openapi.json` for tools, `README.md` for people. Neither needs a bundle, Redis or a database.
"""

import json
import sys
from pathlib import Path
from typing import Any

from retort.serving.api.app import create_app
from retort.serving.runtime.settings import ServingSettings
from retort.shared.base.settings import Settings

OPENAPI, PAGE = "openapi.json", "README.md"
_METHODS = ("get", "post", "put", "delete", "patch")


def api_files() -> dict[str, str]:
    """File name → content, of this version of the application with its default settings."""
    settings = Settings.model_construct(redis_url=None)
    document = create_app(settings, ServingSettings.model_construct()).openapi()
    return {OPENAPI: json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n", PAGE: _page(document)}


def _page(document: dict[str, Any]) -> str:
    """What there is, by group, and what every route has in common."""
    lines = [
        "# The API",
        "",
        "Made by `make api-docs` from the application; [openapi.json](openapi.json) has every field, limit and",
        "example, and a running server shows it at `/docs`; `/console` is a page that asks it.",
        "",
        " ".join(document["info"]["description"].split()),
        "",
        "Keys go in `Authorization: Bearer KEY` or `X-Api-Key`. Every answer carries `X-Request-Id`, the caller's own",
        "where it sent one of at most 64 letters, digits, `_` and `-`. Personal answers are `private, no-store`.",
    ]
    for group, rows in _by_group(document).items():
        lines += ["", f"## {group.capitalize()}", "", "| Request | What it does | Answers |", "|---|---|---|", *rows]
    return "\n".join(lines) + "\n"


def _by_group(document: dict[str, Any]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method in _METHODS:
            route = methods.get(method)
            if route is not None:
                statuses = ", ".join(sorted(route["responses"]))
                row = f"| `{method.upper()} {path}` | {route['summary']} | {statuses} |"
                groups.setdefault(route["tags"][0], []).append(row)
    return groups


def write_api_docs(directory: Path) -> None:
    """Write the files; what has not changed is the same byte for byte."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in api_files().items():
        (directory / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    write_api_docs(Path(sys.argv[1]))
