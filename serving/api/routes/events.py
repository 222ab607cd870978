"""`POST /events`: what happened, one or many."""

import orjson
from fastapi import APIRouter
from pydantic import BaseModel, Field, TypeAdapter

from retort.serving.api.asgi import Handler, Incoming, Outgoing, documented
from retort.serving.api.auth import Scope
from retort.serving.api.routes.documents import body_of, problems
from retort.serving.api.services import Services
from retort.serving.schemas.problems import Problem
from retort.serving.schemas.requests import MAX_EVENTS, Event, parse_events

_EXAMPLE = {"event_id": "e-1001", "user_id": "u42", "item_id": "i7", "event_type": "click"}


class EventsAnswer(BaseModel):
    """What became of them."""

    request_id: str
    accepted: int = Field(description="events taken")
    new: int = Field(description="of these, how many were new to a history")


def handlers(services: Services) -> dict[tuple[str, str], Handler]:
    """The hot lane's entry."""

    async def post(incoming: Incoming) -> Outgoing:
        services.door.admit(incoming.headers, Scope.WRITE)  # before the body is read
        try:
            events = parse_events(incoming.body)
        except Problem:
            await services.door.enter(incoming.headers, Scope.WRITE)  # what cannot be read was one request
            raise
        caller = await services.door.enter(incoming.headers, Scope.WRITE, len(events))
        result = await services.intake.accept(events, caller.tenant)
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
        description="Each event of a list counts against the key's limits; a list of more than they leave is refused "
        "whole, with `Retry-After`.",
        responses={202: {"model": EventsAnswer}, **problems(401, 403, 413, 422, 429, 503)},
        openapi_extra=extra,
    )
    return routes
