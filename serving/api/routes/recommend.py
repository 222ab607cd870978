"""Routes `POST /recommend` and `GET /recommend`, on the fast path."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter

from retort.serving.api.asgi import Handler, RawRequest, RawResponse, as_endpoint
from retort.serving.api.auth import Scope
from retort.serving.api.routes.documents import body_of, parameters_of, problems, reference
from retort.serving.api.services import Services
from retort.serving.schemas.problems import Problem
from retort.serving.schemas.requests import RecommendRequest, parse_recommend, parse_recommend_query
from retort.serving.schemas.responses import RecommendAnswer

_LISTS = frozenset({"history", "exclude"})
_MAX_PARAMETERS = 3000


def fast_handlers(services: Services) -> dict[tuple[str, str], Handler]:
    """Return the handlers for the fast path."""
    authenticator, recommendations = services.authenticator, services.recommendations

    async def respond(raw_request: RawRequest, parse: Callable[[RawRequest], RecommendRequest]) -> RawResponse:
        caller, limit_check = authenticator.authenticate(raw_request.headers, Scope.READ)
        result = await recommendations.recommend(
            parse(raw_request), caller.tenant, raw_request.request_id, limit_check=limit_check
        )
        return RawResponse(result.body(raw_request.request_id))

    async def post(raw_request: RawRequest) -> RawResponse:
        return await respond(raw_request, lambda raw_request: parse_recommend(raw_request.body))

    async def get(raw_request: RawRequest) -> RawResponse:
        return await respond(raw_request, lambda raw_request: parse_recommend_query(_values(raw_request.query)))

    return {("POST", "/recommend"): post, ("GET", "/recommend"): get}


def router(fast_routes: dict[tuple[str, str], Handler]) -> APIRouter:
    """Create the documented routes over the same handlers."""
    routes = APIRouter(tags=["recommend"])
    routes.add_api_route(
        "/recommend",
        as_endpoint(fast_routes["POST", "/recommend"]),
        methods=["POST"],
        name="recommend",
        summary="Recommend items for a user, a session or a history",
        responses={200: {"model": RecommendAnswer}, **problems(401, 403, 408, 413, 422, 429, 503)},
        openapi_extra=body_of(reference(RecommendRequest)),
    )
    routes.add_api_route(
        "/recommend",
        as_endpoint(fast_routes["GET", "/recommend"]),
        methods=["GET"],
        name="recommend_get",
        summary="Recommend items, with the request as a query string; a list repeats its parameter",
        responses={200: {"model": RecommendAnswer}, **problems(401, 403, 422, 429, 503)},
        openapi_extra=parameters_of(RecommendRequest, ("user_id", "session_id", "history", "k", "exclude")),
    )
    return routes


def _values(query: bytes) -> dict[str, Any]:
    values: dict[str, Any] = {}
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS
        )
    except ValueError:  # includes UnicodeDecodeError
        raise Problem(422, "The query string is not percent-encoded UTF-8, or it has too many parameters.") from None
    for name, value in pairs:
        if name in _LISTS:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise Problem(422, f"The query parameter {name!r} is given twice.")
        else:
            values[name] = value
    return values
