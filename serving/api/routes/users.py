"""User routes: read a user's data, merge a guest's history, erase a user."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from retort.serving.api.auth import AdminCaller, Scope
from retort.serving.api.id_paths import PathId, path_id_as_sent
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
from retort.shared.base.ids import canonical_id
from retort.shared.base.schema import MAX_ID_LENGTH
from retort.shared.history.store import Owner

MAX_LISTED = 100
_DELETED = ("history", "profiles", "events", "exposures")
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


async def _owners(services: Services, request: Request, user_id: str, scope: Scope) -> list[Owner]:
    """Return the user and, if the id was sent in another form, the user as earlier versions stored that form."""
    owner = await _owner(services, request, user_id, scope)
    as_sent = Owner(path_id_as_sent(request, "user_id"), owner.tenant)
    return [owner] if as_sent == owner else [owner, as_sent]


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
        owners = await _owners(services, request, user_id, Scope.READ)
        return History(request_id=request.state.request_id, events=await _events(services, owners))


def _add_merge(routes: APIRouter, services: Services) -> None:
    @routes.post("/users/{user_id:path}/merge", summary="Merge a guest's history into the user's")
    async def merge(request: Request, user_id: UserId, guest: MergeRequest) -> Merged:
        owner = await _owner(services, request, user_id, Scope.WRITE)
        if (guest.session_id is None) == (guest.user_id is None):
            raise Problem(422, "body: give either a session_id or a user_id.")
        kind: Literal["user", "session"] = "user" if guest.session_id is None else "session"
        sent = guest.user_id if guest.session_id is None else guest.session_id
        moved = 0
        with store_errors():
            # also what an earlier version stored under another form of the guest's id, such as one with blanks
            for guest_id in filter(None, dict.fromkeys((canonical_id(str(sent)), str(sent)))):
                moved += await services.event_intake.merge(Owner(guest_id, owner.tenant, kind), owner)
        return Merged(request_id=request.state.request_id, moved=moved)


def _add_erasure(routes: APIRouter, services: Services) -> None:
    user_data = services.user_data

    @routes.get("/users/{user_id:path}/erasure", summary="State of an erasure", responses=problems(404))
    async def erasure(request: Request, user_id: UserId) -> ErasureDocument:
        owners = await _owners(services, request, user_id, Scope.ADMIN)
        with store_errors():
            states = [state for owner in owners if (state := await user_data.erasures.read(owner)) is not None]
        if not states:
            raise not_found("No erasure of this user exists; request one with DELETE.")
        return _document(request, states)

    @routes.delete(
        "/users/{user_id:path}",
        status_code=202,
        summary="Erase all data of the user",
        description="A request with the same `X-Request-Id`, or one while an erasure is pending, continues the first "
        "request's erasure and deletes nothing that was stored after it. For 90 days, an event whose own time is "
        "before the erasure is accepted but not stored: an erased event that is sent again does not come back.",
    )
    async def erase(request: Request, response: Response, user_id: UserId) -> ErasureDocument:
        owners = await _owners(services, request, user_id, Scope.ADMIN)
        try:
            with store_errors():
                states = [await user_data.erase(owner, request.state.request_id) for owner in owners]
        finally:
            for owner in owners:
                services.user_sample.discard(owner)
                services.reader.cache.discard(owner)  # last: a request in between would cache the history again
        return _document(request, states)


def _add_known(routes: APIRouter, services: Services) -> None:
    @routes.get("/users/{user_id:path}", summary="All data of the user")
    async def known(request: Request, user_id: UserId) -> Known:
        owners = await _owners(services, request, user_id, Scope.ADMIN)
        events = await _events(services, owners)
        with store_errors():
            rows = [await services.user_data.read_stored(owner) for owner in owners]
        themes = [theme.value for owner in owners for theme in await services.reader.themes(owner)]
        values = _joined([stored for stored in rows if stored is not None])
        return Known(
            request_id=request.state.request_id,
            events=events,
            profiles=values.pop("profiles", []),
            themes=themes,
            stored=values or None,
        )


async def _events(services: Services, owners: list[Owner]) -> list[HistoryEntry]:
    with store_errors():
        entries = [entry for owner in owners for entry in await services.histories.entries(owner)]
    if len(owners) > 1:
        entries.sort(key=lambda entry: entry.time_ms)
    return [HistoryEntry(item_id=entry.item_id, time_ms=entry.time_ms) for entry in entries]


def _joined(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Join what is stored of a user: lists and numbers are added up; of the choices about the profile, the first."""
    joined: dict[str, Any] = dict(rows[0]) if rows else {}
    for stored in rows[1:]:
        for name, value in stored.items():
            joined[name] = joined[name] + value if isinstance(value, int | list) else joined[name] or value
    return joined


def _document(request: Request, states: list[Erasure]) -> ErasureDocument:
    """Describe an erasure: pending while one of its parts is, with the sums of what was deleted."""
    first = next((state for state in states if state.status != "done"), states[0])
    summed = {name: _sum([getattr(state, name) for state in states]) for name in _DELETED}
    return ErasureDocument(**{**vars(first), **summed, "request_id": request.state.request_id})


def _sum(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
