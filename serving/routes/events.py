"""`POST /events`: what happened, one or many."""

import orjson
from fastapi import APIRouter
from pydantic import BaseModel, Field, TypeAdapter

from serving.auth import Scope
from serving.http import Handler, Incoming, Outgoing, documented
from serving.requests import MAX_EVENTS, Event, parse_events
from serving.routes.documents import body_of, problems
from serving.services import Services

_EXAMPLE = {"event_id": "e-1001", "user_id": "u42", "item_id": "i7", "event_type": "click"}


class EventsAnswer(BaseModel):
    """What became of them."""

    request_id: str
    accepted: int = Field(description="events taken")
    new: int = Field(description="of these, how many were new to a history")


def handlers(services: Services) -> dict[tuple[str, str], Handler]:
    """The hot lane's entry."""

    async def post(incoming: Incoming) -> Outgoing:
        caller = await services.door.enter(incoming.headers, Scope.WRITE)
        result = await services.intake.accept(parse_events(incoming.body), caller.tenant)
        answer = {"request_id": incoming.request_id, "accepted": result.accepted, "new": result.new}
        return Outgoing(orjson.dumps(answer), 202)

    return {("POST", "/events"): post}


def router(lane: dict[tuple[str, str], Handler]) -> APIRouter:
    """The same handler, documented."""
    routes = APIRouter(tags=["events"])
    one_or_many: TypeAdapter[Event | list[Event]] = TypeAdapter(Event | list[Event])
    extra = body_of(one_or_many)
    schema = extra["requestBody"]["content"]["application/json"]["schema"]
    schema["anyOf"][1] |= {"minItems": 1, "maxItems": MAX_EVENTS}
    schema["examples"] = [_EXAMPLE]
    routes.add_api_route(
        "/events",
        documented(lane["POST", "/events"]),
        methods=["POST"],
        name="events",
        status_code=202,
        summary="Take one event or a list; the next answer knows them",
        responses={202: {"model": EventsAnswer}, **problems(401, 403, 413, 422, 429, 503)},
        openapi_extra=extra,
    )
    return routes
