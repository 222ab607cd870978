"""What is known of a user, moving a guest's history, and forgetting everything."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, Field

from serving.auth import Scope
from serving.problems import Problem, not_found
from serving.requests import Body, Id
from serving.routes.documents import problems
from serving.services import Services
from shared.errors import StoreError
from shared.history import Entry, Owner

UserId = Annotated[Id, Path(description="the user's id")]


class HistoryEntry(BaseModel):
    """One stored event."""

    item_id: str
    time_ms: int = Field(description="the event's own time, in ms since 1970")


class History(BaseModel):
    """A stored history, oldest first."""

    request_id: str
    events: list[HistoryEntry]


class ProfileText(BaseModel):
    """What a language model wrote of the user, offline."""

    aspect: str
    text: str
    model: str
    written_at: str


class Known(BaseModel):
    """Everything that is known of a user."""

    request_id: str
    events: list[HistoryEntry]
    profiles: list[ProfileText]


class MergeRequest(Body):
    """The guest whose history becomes the user's."""

    session_id: Id | None = None
    user_id: Id | None = None


class Merged(BaseModel):
    """How many events were new to the user."""

    request_id: str
    moved: int


class ErasureDocument(BaseModel):
    """How far an erasure is."""

    request_id: str
    status: str = Field(description="pending or done")
    requested_ms: int
    finished_ms: int | None
    history: int = Field(description="events forgotten")
    profiles: int | None = Field(description="profiles deleted; null until the database has answered")
    events: int | None = Field(description="events deleted from the database; null until it has answered")


def router(services: Services) -> APIRouter:
    """All `/users` routes; longer paths first, ids may hold slashes."""
    routes = APIRouter(tags=["users"], responses=problems(400, 401, 403, 404, 413, 422, 429, 503))
    people, histories = services.people, services.histories

    def owner_of(request: Request, user_id: str, scope: Scope) -> Owner:
        # The tenant comes from the key alone: nobody names another tenant's user.
        return Owner(user_id, services.door.admit(dict(request.scope["headers"]), scope).tenant)

    @routes.get("/users/{user_id:path}/history", summary="The stored history")
    async def history(request: Request, user_id: UserId) -> History:
        owner = owner_of(request, user_id, Scope.READ)
        with _store():
            entries = await histories.entries(owner)
        return History(request_id=request.state.request_id, events=[_entry(one) for one in entries])

    @routes.post("/users/{user_id:path}/merge", summary="Move a guest's history into the user's")
    async def merge(request: Request, user_id: UserId, guest: MergeRequest) -> Merged:
        owner = owner_of(request, user_id, Scope.WRITE)
        if (guest.session_id is None) == (guest.user_id is None):
            raise Problem(422, "body: name either a session_id or a user_id.")
        source = (
            Owner(guest.session_id, owner.tenant, "session")
            if guest.session_id is not None
            else Owner(str(guest.user_id), owner.tenant)
        )
        with _store():
            moved = await histories.merge(source, owner)
        services.reader.memory.drop(source)
        services.reader.memory.drop(owner)
        return Merged(request_id=request.state.request_id, moved=moved)

    @routes.get("/users/{user_id:path}/erasure", summary="How far an erasure is", responses=problems(404))
    async def erasure(request: Request, user_id: UserId) -> ErasureDocument:
        owner = owner_of(request, user_id, Scope.ADMIN)
        with _store():
            note = await people.notes.read(owner)
        if note is None:
            raise not_found("No erasure of this user is known.")
        return ErasureDocument(request_id=request.state.request_id, **vars(note))

    @routes.get("/users/{user_id:path}", summary="Everything that is known of the user")
    async def known(request: Request, user_id: UserId) -> Known:
        owner = owner_of(request, user_id, Scope.ADMIN)
        with _store():
            entries = await histories.entries(owner)
            profiles = await people.profiles(owner)
        return Known(
            request_id=request.state.request_id,
            events=[_entry(one) for one in entries],
            profiles=[ProfileText(**profile) for profile in profiles],
        )

    @routes.delete("/users/{user_id:path}", status_code=202, summary="Forget everything of the user")
    async def erase(request: Request, response: Response, user_id: UserId) -> ErasureDocument:
        owner = owner_of(request, user_id, Scope.ADMIN)
        services.reader.memory.drop(owner)
        with _store():
            note = await people.erase(owner)
        return ErasureDocument(request_id=request.state.request_id, **vars(note))

    return routes


@contextmanager
def _store() -> Iterator[None]:
    """A store that does not answer is a 503, with when to come back."""
    try:
        yield
    except StoreError as error:
        raise Problem(503, "A store does not answer; try again shortly.", headers={"retry-after": "2"}) from error


def _entry(entry: Entry) -> HistoryEntry:
    return HistoryEntry(item_id=entry.item_id, time_ms=entry.time_ms)
