"""`POST /recommend` and `GET /recommend`: hot, so they are handled from bytes to bytes."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter

from retort.serving.api.asgi import Handler, Incoming, Outgoing, documented
from retort.serving.api.auth import Scope
from retort.serving.api.routes.documents import body_of, parameters_of, problems
from retort.serving.api.services import Services
from retort.serving.schemas.problems import Problem
from retort.serving.schemas.requests import RecommendRequest, parse_recommend, parse_recommend_query
from retort.serving.schemas.responses import RecommendAnswer

_LISTS = frozenset({"history", "exclude"})
_MAX_PARAMETERS = 3000


def handlers(services: Services) -> dict[tuple[str, str], Handler]:
    """The hot lane's entries."""
    door, answering = services.door, services.answering

    async def answer(incoming: Incoming, read: Callable[[Incoming], RecommendRequest]) -> Outgoing:
        caller, admitted = door.knock(incoming.headers, Scope.READ)
        result = await answering.answer(read(incoming), caller.tenant, incoming.request_id, admitted=admitted)
        return Outgoing(result.body(incoming.request_id))

    async def post(incoming: Incoming) -> Outgoing:
        return await answer(incoming, lambda incoming: parse_recommend(incoming.body))

    async def get(incoming: Incoming) -> Outgoing:
        return await answer(incoming, lambda incoming: parse_recommend_query(_values(incoming.query)))

    return {("POST", "/recommend"): post, ("GET", "/recommend"): get}


def router(lane: dict[tuple[str, str], Handler]) -> APIRouter:
    """The same handlers, documented."""
    routes = APIRouter(tags=["recommend"])
    routes.add_api_route(
        "/recommend",
        documented(lane["POST", "/recommend"]),
        methods=["POST"],
        name="recommend",
        summary="Recommend items to a user, a session or a history",
        responses={200: {"model": RecommendAnswer}, **problems(401, 403, 413, 422, 429, 503)},
        openapi_extra=body_of(RecommendRequest),
    )
    routes.add_api_route(
        "/recommend",
        documented(lane["GET", "/recommend"]),
        methods=["GET"],
        name="recommend_get",
        summary="The same from a query string; lists repeat their parameter",
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
    except ValueError:  # a UnicodeDecodeError is one
        raise Problem(422, "The query string is not percent-encoded UTF-8, or has too many parameters.") from None
    for name, value in pairs:
        if name in _LISTS:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise Problem(422, f"The query parameter {name!r} is given twice.")
        else:
            values[name] = value
    return values
