"""HTTP errors as RFC 9457 problem documents, each with a remedy."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson

CONTENT_TYPE = "application/problem+json"


class Problem(Exception):  # noqa: N818 - the RFC's own word
    """An error response.

    Args:
        detail: One sentence for the caller. It never holds an id or a key.
        extra: Further members of the document.
    """

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.extra = extra

    def body(self, request_id: str) -> bytes:
        """Return the document as JSON bytes."""
        document = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
        }
        return orjson.dumps(document | self.extra)


def for_path(problem: Problem, path: str) -> Problem:
    """Return the problem for a route; KServe clients read the member `error`."""
    if path == "/v2" or path.startswith("/v2/"):
        problem.extra.setdefault("error", problem.detail)
    return problem


def invalid(errors: list[Any]) -> Problem:
    """Return a 422 from pydantic's errors: location and message, without the values, which may be personal."""
    places = [
        {"where": ".".join(str(part) for part in error["loc"]) or "body", "why": error["msg"]} for error in errors[:10]
    ]
    first = places[0]
    return Problem(422, f"{first['where']}: {first['why']}", errors=places)


def overloaded(retry_after_s: int = 1) -> Problem:
    """Return a 503: too many requests are in flight."""
    return Problem(503, "The server is overloaded; retry shortly.", headers={"retry-after": str(retry_after_s)})


def failure() -> Problem:
    """Return a 500: an error of the server."""
    return Problem(500, "The server failed; find the cause in its log by the request id.")


def not_found(detail: str) -> Problem:
    """Return a 404."""
    return Problem(404, detail)
