"""What is known of a user, moving a guest's history, and forgetting everything."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from retort.serving.api.auth import Scope
from retort.serving.api.id_paths import PathId
from retort.serving.api.routes.documents import problems
from retort.serving.api.routes.user_documents import ErasureDocument, History, HistoryEntry, Known, Merged, MergeRequest
from retort.serving.api.services import Services
from retort.serving.schemas.problems import Problem, not_found
from retort.serving.users.erasure import Erasure
from retort.shared.base.errors import StoreError
from retort.shared.history.store import Entry, Owner

UserId = Annotated[PathId, Path(description="the user's id")]


def router(services: Services) -> APIRouter:
    """All `/users` routes; longer paths first, ids may hold slashes."""
    routes = APIRouter(tags=["users"], responses=problems(400, 401, 403, 404, 413, 422, 429, 503))
    _add_history(routes, services)
    _add_merge(routes, services)
    _add_erasure(routes, services)
    _add_known(routes, services)
    return routes


async def _owner(services: Services, request: Request, user_id: str, scope: Scope) -> Owner:
    # The tenant comes from the key alone: nobody names another tenant's user.
    caller = await services.door.enter(dict(request.scope["headers"]), scope)
    return Owner(user_id, caller.tenant)


def _add_history(routes: APIRouter, services: Services) -> None:
    @routes.get("/users/{user_id:path}/history", summary="The stored history")
    async def history(request: Request, user_id: UserId) -> History:
        owner = await _owner(services, request, user_id, Scope.READ)
        with _store():
            entries = await services.histories.entries(owner)
        return History(request_id=request.state.request_id, events=_listed(entries))


def _add_merge(routes: APIRouter, services: Services) -> None:
    @routes.post("/users/{user_id:path}/merge", summary="Move a guest's history into the user's")
    async def merge(request: Request, user_id: UserId, guest: MergeRequest) -> Merged:
        owner = await _owner(services, request, user_id, Scope.WRITE)
        if (guest.session_id is None) == (guest.user_id is None):
            raise Problem(422, "body: name either a session_id or a user_id.")
        source = (
            Owner(guest.session_id, owner.tenant, "session")
            if guest.session_id is not None
            else Owner(str(guest.user_id), owner.tenant)
        )
        with _store():
            moved = await services.intake.merge(source, owner)
        return Merged(request_id=request.state.request_id, moved=moved)


def _add_erasure(routes: APIRouter, services: Services) -> None:
    people = services.people

    @routes.get("/users/{user_id:path}/erasure", summary="How far an erasure is", responses=problems(404))
    async def erasure(request: Request, user_id: UserId) -> ErasureDocument:
        owner = await _owner(services, request, user_id, Scope.ADMIN)
        with _store():
            note = await people.notes.read(owner)
        if note is None:
            raise not_found("No erasure of this user is known.")
        return _document(request, note)

    @routes.delete(
        "/users/{user_id:path}",
        status_code=202,
        summary="Forget everything of the user",
        description="Sent again with the same `X-Request-Id`, or while it is pending, it goes on with the first "
        "request's erasure and takes nothing that came after it.",
    )
    async def erase(request: Request, response: Response, user_id: UserId) -> ErasureDocument:
        owner = await _owner(services, request, user_id, Scope.ADMIN)
        try:
            with _store():
                note = await people.erase(owner, request.state.request_id)
        finally:
            services.reader.memory.drop(owner)  # last: a question in between would be remembered
        return _document(request, note)


def _add_known(routes: APIRouter, services: Services) -> None:
    @routes.get("/users/{user_id:path}", summary="Everything that is known of the user")
    async def known(request: Request, user_id: UserId) -> Known:
        owner = await _owner(services, request, user_id, Scope.ADMIN)
        with _store():
            entries = await services.histories.entries(owner)
            stored = await services.people.stored(owner)
        themes = await services.reader.themes(owner)
        values = dict(stored or {})
        return Known(
            request_id=request.state.request_id,
            events=_listed(entries),
            profiles=values.pop("profiles", []),
            themes=[theme.value for theme in themes],
            stored=values or None,
        )


@contextmanager
def _store() -> Iterator[None]:
    """A store that does not answer is a 503, with when to come back."""
    try:
        yield
    except StoreError as error:
        raise Problem(503, "A store does not answer; try again shortly.", headers={"retry-after": "2"}) from error


def _listed(entries: list[Entry]) -> list[HistoryEntry]:
    return [HistoryEntry(item_id=entry.item_id, time_ms=entry.time_ms) for entry in entries]


def _document(request: Request, note: Erasure) -> ErasureDocument:
    return ErasureDocument(**{**vars(note), "request_id": request.state.request_id})
