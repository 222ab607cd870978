"""Routes of the console, a web page to try and inspect the recommender, and of the page of the API at `/docs`.

`RETORT_CONSOLE=false` disables the console.

Its files hold no data and require no key. The page reads everything from the public API, with the key that the user
enters.
"""

import gzip
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter, Request, Response

from retort.serving.schemas.problems import not_found

FILES = Path(__file__).parents[2] / "console"
_PAGE = "index.html"
_API_PAGE = FILES.parent / "api_page"
_SHARED_FILES = ("dom.js", "console.css", "icon.svg")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Titles and profiles are untrusted text: this policy stops the browser from running or loading anything in them.
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
    """A static file, compressed by gzip and plain."""

    compressed: bytes
    plain: bytes
    media_type: str


def router() -> APIRouter:
    """Create `/console` and the routes of its files, which are read now."""
    files = {path.name: _read(path) for path in FILES.iterdir() if path.suffix in _TYPES}
    index = files.pop(_PAGE)  # at one address only, because its links are relative to it
    routes = APIRouter(include_in_schema=False)

    @routes.get("/console")
    async def page(request: Request) -> Response:
        return _response(request, index)

    @routes.get("/console/")
    async def folder() -> Response:
        # relative, like the page's links: a proxy may use another port, a prefix or TLS
        return Response(status_code=307, headers={"location": "../console"})

    @routes.get("/console/{name}")
    async def file(request: Request, name: str) -> Response:
        if name not in files:
            raise not_found("The console has no such file.")
        return _response(request, files[name])

    return routes


def docs_router(start_page: str) -> APIRouter:
    """Create `/docs`, which shows `/openapi.json` with its own files alone, and the redirects to the pages.

    Args:
        start_page: Page to which `/` redirects.
    """
    index = _read(_API_PAGE / "docs.html")
    scripts = sorted(_API_PAGE.glob("*.js"))
    files = {path.name: _read(path) for path in [*scripts, *(FILES / name for name in _SHARED_FILES)]}
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    async def start() -> Response:
        return Response(status_code=307, headers={"location": start_page})

    @routes.get("/redoc")
    async def redoc() -> Response:
        return Response(status_code=307, headers={"location": "docs"})

    @routes.get("/docs")
    async def docs(request: Request) -> Response:
        return _response(request, index)

    @routes.get("/docs/{name}")
    async def docs_file(request: Request, name: str) -> Response:
        if name not in files:
            raise not_found("The page of the API has no such file.")
        return _response(request, files[name])

    return routes


def _read(path: Path) -> _File:
    plain = path.read_bytes()
    return _File(gzip.compress(plain, mtime=0), plain, _TYPES[path.suffix])


def _response(request: Request, file: _File) -> Response:
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(file.plain, headers=_HEADERS, media_type=file.media_type)
    return Response(file.compressed, headers={**_HEADERS, "content-encoding": "gzip"}, media_type=file.media_type)
