"""HTTP errors as RFC 9457 problem documents, each with a remedy."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import orjson

from retort.serving.schemas.suggestions import field_names, suggest
from retort.shared.base.errors import StoreError, invalid_reason
from retort.shared.base.text import VISIBLE_TEXT

CONTENT_TYPE = "application/problem+json"
_UNKNOWN = "unknown field"


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


def invalid(errors: list[Any], model: Any = None) -> Problem:
    """Return a 422 from pydantic's errors: location and message, without the values, which may be personal.

    Args:
        model: Model of the body. Fields that it does not have come first, each with the field that was probably meant.
    """
    places = [{"where": ".".join(map(str, error["loc"])) or "body", "why": _why(error, model)} for error in errors]
    places.sort(key=lambda place: not place["why"].startswith(_UNKNOWN))
    first = places[0]
    return Problem(422, f"{first['where']}: {first['why']}", errors=places[:10])


def _why(error: Any, model: Any) -> str:
    if error["type"] == "string_pattern_mismatch" and error.get("ctx", {}).get("pattern") == VISIBLE_TEXT:
        return "must hold a visible character and no NUL."
    if error["type"] != "extra_forbidden" or not error["loc"]:
        return invalid_reason(error)
    location = error["loc"][1:] if error["loc"][0] == "body" else error["loc"]  # the framework names the body
    known = field_names(model, location)
    if not known:
        return _UNKNOWN
    near = suggest(str(error["loc"][-1]), known)
    return f"{_UNKNOWN}; did you mean {near}?" if near else f"{_UNKNOWN}; the fields are {', '.join(known)}."


def overloaded(retry_after_s: int = 1) -> Problem:
    """Return a 503: too many requests are in flight."""
    return Problem(503, "The server is overloaded; retry shortly.", headers={"retry-after": str(retry_after_s)})


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn a StoreError of the block into a `Problem` 503."""
    try:
        yield
    except StoreError as error:
        raise Problem(503, "A store is down; retry shortly.", headers={"retry-after": "2"}) from error


def failure() -> Problem:
    """Return a 500: an error of the server."""
    return Problem(500, "The server failed; find the cause in its log by the request id.")


def not_found(detail: str) -> Problem:
    """Return a 404."""
    return Problem(404, detail)
