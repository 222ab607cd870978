"""Route `POST /events`: one event or a list of events."""

from typing import Any

import orjson
from fastapi import APIRouter
from pydantic import BaseModel, Field

from retort.serving.api.asgi import Handler, RawRequest, RawResponse, as_endpoint
from retort.serving.api.auth import Scope
from retort.serving.api.routes.documents import body_of, problems, reference
from retort.serving.api.services import Services
from retort.serving.feedback.event_hints import event_hints
from retort.serving.schemas.problems import Problem
from retort.serving.schemas.requests import MAX_EVENTS, Event, parse_events

_UNWRITTEN = (
    "The history of this user or session cannot be written; send the event again with the same event_id. If it fails "
    "again, the log of the server names the Redis key to delete."
)
_EXAMPLE = {"event_id": "e-1001", "user_id": "u42", "item_id": "i7", "event_type": "click"}


class Place(BaseModel):
    """A remark on one event or field."""

    where: str = Field(description="place of the event in the list, from 0, and the field")
    why: str


class EventsAnswer(BaseModel):
    """Result of the intake of events."""

    request_id: str
    accepted: int = Field(description="number of accepted events")
    new: int = Field(description="number of them that were new to a history")
    errors: list[Place] | None = Field(
        None, description="events of a list that were not stored, because the history of their owner cannot be written"
    )
    hints: list[Place] | None = Field(None, description="accepted events that probably differ from what was meant")


def fast_handlers(services: Services) -> dict[tuple[str, str], Handler]:
    """Return the handler for the fast path."""

    async def post(raw_request: RawRequest) -> RawResponse:
        services.authenticator.require_scope(raw_request.headers, Scope.WRITE)  # before the body is read
        try:
            events = parse_events(raw_request.body)
        except Problem:
            await services.authenticator.authenticate_within_limits(
                raw_request.headers, Scope.WRITE
            )  # an invalid body counts as one request
            raise
        caller = await services.authenticator.authenticate_within_limits(raw_request.headers, Scope.WRITE, len(events))
        result = await services.event_intake.accept(events, caller.tenant)
        document: dict[str, Any] = {
            "request_id": raw_request.request_id,
            "accepted": result.accepted,
            "new": result.new,
        }
        if result.failed:
            document["errors"] = [{"where": str(place), "why": _UNWRITTEN} for place, _ in result.failed]
        if hints := event_hints(events, result, services.models.current(caller.tenant)):
            document["hints"] = hints
        return RawResponse(orjson.dumps(document), 202)

    return {("POST", "/events"): post}


def router(fast_routes: dict[tuple[str, str], Handler]) -> APIRouter:
    """Create the documented route over the same handler."""
    routes = APIRouter(tags=["events"])
    event_list = {"type": "array", "items": reference(Event), "minItems": 1, "maxItems": MAX_EVENTS}
    routes.add_api_route(
        "/events",
        as_endpoint(fast_routes["POST", "/events"]),
        methods=["POST"],
        name="events",
        status_code=202,
        summary="Send one event or a list; the next recommendation uses them",
        description="Each event counts against the key's limits; a list that exceeds them is refused as a whole, with "
        "`Retry-After`. `event_id` makes it safe to send an event again: of the events of one user (or session) with "
        "the same id, the first counts. `hints` name accepted events that probably differ from what was meant, such as "
        "those of items that the serving bundle does not know.",
        responses={202: {"model": EventsAnswer}, **problems(401, 403, 408, 413, 422, 429, 503)},
        openapi_extra=body_of({"anyOf": [reference(Event), event_list], "title": "Events"}, _EXAMPLE),
    )
    return routes
