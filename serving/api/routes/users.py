"""User routes: read a user's data, merge a guest's history, erase a user."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from retort.serving.api.auth import AdminCaller, Scope
from retort.serving.api.id_paths import PathId
from retort.serving.api.routes.documents import problems
from retort.serving.api.routes.user_documents import (
    ErasureDocument,
    History,
    HistoryEntry,
    Known,
    Merged,
    MergeRequest,
    UserList,
)
from retort.serving.api.services import Services
from retort.serving.schemas.problems import Problem, not_found, store_errors
from retort.serving.users.erasure import Erasure
from retort.shared.base.schema import MAX_ID_LENGTH
from retort.shared.history.store import Entry, Owner

MAX_LISTED = 100
UserId = Annotated[PathId, Path(description="user id")]


def router(services: Services) -> APIRouter:
    """Create the `/users` routes, longer paths first, because ids may hold slashes."""
    routes = APIRouter(tags=["users"], responses=problems(400, 401, 403, 404, 408, 413, 422, 429, 503))
    _add_list(routes, services)
    _add_history(routes, services)
    _add_merge(routes, services)
    _add_erasure(routes, services)
    _add_known(routes, services)
    return routes


async def _owner(services: Services, request: Request, user_id: str, scope: Scope) -> Owner:
    # The tenant comes from the key, so no caller can read another tenant's user.
    caller = await services.authenticator.authenticate_within_limits(dict(request.scope["headers"]), scope)
    return Owner(user_id, caller.tenant)


def _add_list(routes: APIRouter, services: Services) -> None:
    @routes.get("/users", summary="Some users who have a history")
    async def users(
        request: Request,
        caller: AdminCaller,
        start: Annotated[str, Query(max_length=MAX_ID_LENGTH, description="start of the user id")] = "",
        limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 10,
    ) -> UserList:
        with store_errors():
            found = await services.user_sample.find(caller.tenant, start, limit)
        return UserList(request_id=request.state.request_id, **vars(found))


def _add_history(routes: APIRouter, services: Services) -> None:
    @routes.get("/users/{user_id:path}/history", summary="Stored history")
    async def history(request: Request, user_id: UserId) -> History:
        owner = await _owner(services, request, user_id, Scope.READ)
        with store_errors():
            entries = await services.histories.entries(owner)
        return History(request_id=request.state.request_id, events=_history_entries(entries))


def _add_merge(routes: APIRouter, services: Services) -> None:
    @routes.post("/users/{user_id:path}/merge", summary="Merge a guest's history into the user's")
    async def merge(request: Request, user_id: UserId, guest: MergeRequest) -> Merged:
        owner = await _owner(services, request, user_id, Scope.WRITE)
        if (guest.session_id is None) == (guest.user_id is None):
            raise Problem(422, "body: give either a session_id or a user_id.")
        source = (
            Owner(guest.session_id, owner.tenant, "session")
            if guest.session_id is not None
            else Owner(str(guest.user_id), owner.tenant)
        )
        with store_errors():
            moved = await services.event_intake.merge(source, owner)
        return Merged(request_id=request.state.request_id, moved=moved)


def _add_erasure(routes: APIRouter, services: Services) -> None:
    user_data = services.user_data

    @routes.get("/users/{user_id:path}/erasure", summary="State of an erasure", responses=problems(404))
    async def erasure(request: Request, user_id: UserId) -> ErasureDocument:
        owner = await _owner(services, request, user_id, Scope.ADMIN)
        with store_errors():
            state = await user_data.erasures.read(owner)
        if state is None:
            raise not_found("No erasure of this user exists; request one with DELETE.")
        return _document(request, state)

    @routes.delete(
        "/users/{user_id:path}",
        status_code=202,
        summary="Erase all data of the user",
        description="A request with the same `X-Request-Id`, or one while an erasure is pending, continues the first "
        "request's erasure and deletes nothing that was stored after it. For 90 days, an event whose own time is "
        "before the erasure is accepted but not stored: an erased event that is sent again does not come back.",
    )
    async def erase(request: Request, response: Response, user_id: UserId) -> ErasureDocument:
        owner = await _owner(services, request, user_id, Scope.ADMIN)
        try:
            with store_errors():
                state = await user_data.erase(owner, request.state.request_id)
        finally:
            services.user_sample.discard(owner)
            services.reader.cache.discard(owner)  # last: a request in between would cache the history again
        return _document(request, state)


def _add_known(routes: APIRouter, services: Services) -> None:
    @routes.get("/users/{user_id:path}", summary="All data of the user")
    async def known(request: Request, user_id: UserId) -> Known:
        owner = await _owner(services, request, user_id, Scope.ADMIN)
        with store_errors():
            entries = await services.histories.entries(owner)
            stored = await services.user_data.read_stored(owner)
        themes = await services.reader.themes(owner)
        values = dict(stored or {})
        return Known(
            request_id=request.state.request_id,
            events=_history_entries(entries),
            profiles=values.pop("profiles", []),
            themes=[theme.value for theme in themes],
            stored=values or None,
        )


def _history_entries(entries: list[Entry]) -> list[HistoryEntry]:
    return [HistoryEntry(item_id=entry.item_id, time_ms=entry.time_ms) for entry in entries]


def _document(request: Request, state: Erasure) -> ErasureDocument:
    return ErasureDocument(**{**vars(state), "request_id": request.state.request_id})
