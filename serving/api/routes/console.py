"""The console: a page for people who want to see the recommender work. `RETORT_CONSOLE=false` leaves it out.

Its files hold no data and need no key. Whatever it shows it asks of the public API, with the key that the person typed.
"""

import gzip
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter, Request, Response

from retort.serving.schemas.problems import not_found

FILES = Path(__file__).parents[2] / "console"
_PAGE = "index.html"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Titles and profiles are strangers' words: the browser itself refuses whatever would run or load because of them.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "vary": "accept-encoding",
}


class _File(NamedTuple):
    """A file as it is sent, to those who read gzip and to the others."""

    packed: bytes
    plain: bytes
    media_type: str


def router() -> APIRouter:
    """`/console` and the files beside the page, read now."""
    files = {path.name: _read(path) for path in FILES.iterdir() if path.suffix in _TYPES}
    index = files.pop(_PAGE)  # at one address only: its links are relative to it
    routes = APIRouter(include_in_schema=False)

    @routes.get("/console")
    async def page(request: Request) -> Response:
        return _response(request, index)

    @routes.get("/console/")
    async def folder() -> Response:
        # relative, as the page's own links: a proxy may have another port, a prefix, or TLS before it
        return Response(status_code=307, headers={"location": "../console"})

    @routes.get("/console/{name}")
    async def file(request: Request, name: str) -> Response:
        if name not in files:
            raise not_found("The console has no such file.")
        return _response(request, files[name])

    return routes


def _read(path: Path) -> _File:
    plain = path.read_bytes()
    return _File(gzip.compress(plain, mtime=0), plain, _TYPES[path.suffix])


def _response(request: Request, file: _File) -> Response:
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(file.plain, headers=_HEADERS, media_type=file.media_type)
    return Response(file.packed, headers={**_HEADERS, "content-encoding": "gzip"}, media_type=file.media_type)
