"""Errors over HTTP: RFC 9457 problem documents, each with what to do about it."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson

CONTENT_TYPE = "application/problem+json"


class Problem(Exception):  # noqa: N818 - the RFC's own word
    """An answer other than success. `detail` is one sentence for the caller and never holds an id or a key."""

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.extra = extra

    def body(self, request_id: str) -> bytes:
        """The document, as bytes."""
        document = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
        }
        return orjson.dumps(document | self.extra)


def invalid(errors: list[Any]) -> Problem:
    """422 from pydantic's list of errors: where and why, without the values, which may be personal."""
    places = [
        {"where": ".".join(str(part) for part in error["loc"]) or "body", "why": error["msg"]} for error in errors[:10]
    ]
    first = places[0]
    return Problem(422, f"{first['where']}: {first['why']}", errors=places)


def overloaded(retry_after_s: int = 1) -> Problem:
    """503: the queue is full."""
    return Problem(503, "The server is at its limit; try again shortly.", headers={"retry-after": str(retry_after_s)})


def failure() -> Problem:
    """500: a fault of ours."""
    return Problem(500, "The server failed; the request id finds it in the log.")


def not_found(what: str) -> Problem:
    """404 with what was looked for."""
    return Problem(404, what)
