"""Routes of the map of items: binary places and colours, so that a million items take 5 MB, and what is at a place."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from retort.serving.api.auth import AdminCaller
from retort.serving.api.routes.documents import problems
from retort.serving.api.routes.items import FoundItem, FoundItems, found_item, live_bundle
from retort.serving.api.services import Services
from retort.serving.catalogue.catalogue import Catalogue
from retort.serving.catalogue.item_map import ItemMap
from retort.serving.runtime.threads import CONSOLE_THREADS
from retort.serving.schemas.problems import Problem, not_found, store_errors
from retort.serving.users.profile_places import find_profile_places
from retort.shared.base.errors import BundleError
from retort.shared.base.schema import POPULARITY
from retort.shared.history.store import Owner

MAX_POINTS = 100
MAX_USERS = 300
# Newest events among which the most typical item gives a user's place.
_EVENTS = 20
_BINARY = "application/octet-stream"
_BYTES = {"content": {_BINARY: {"schema": {"type": "string", "format": "binary"}}}}


class MapUser(BaseModel):
    """A user, among the items whose texts are nearest to the profile, or else at a typical item of the history."""

    user_id: str
    x: int
    y: int
    by: Literal["profile", "history"] = Field(
        description="profile: as the bundle's training read it; history: the most typical of the newest items"
    )
    theme: str | None = Field(description="first theme of the user's profile")


class MapUsers(BaseModel):
    """Some users who have a history."""

    request_id: str
    users: list[MapUser]


def router(services: Services) -> APIRouter:
    """Create the `/map` routes."""
    routes = APIRouter(tags=["items"], responses=problems(401, 403, 404, 422, 429, 503))
    _add_items(routes, services)
    _add_users(routes, services)
    return routes


def _add_items(routes: APIRouter, services: Services) -> None:
    @routes.get(
        "/map",
        summary="Place of each item",
        description="x and y of each item in the order of `point`, as 16-bit little-endian numbers.",
        response_class=Response,
        responses={200: _BYTES},
    )
    async def places(request: Request) -> Response:
        item_map = await _map_of((await live_bundle(services, request)).catalogue)
        return Response(item_map.encoded_places(), media_type=_BINARY)

    @routes.get(
        "/map/colours",
        summary="Colour number of each item by an attribute",
        description="One byte an item. Texts and booleans: place of the value among the values of `/facets`, from 1; 0 "
        "for other values and none. Numbers and times: 1 for the smallest to 255 for the largest, by rank; 0 for none.",
        response_class=Response,
        responses={200: _BYTES},
    )
    async def colours(request: Request, attribute: Annotated[str, Query(max_length=128)] = POPULARITY) -> Response:
        item_map = await _map_of((await live_bundle(services, request)).catalogue)
        numbers = await CONSOLE_THREADS.run(item_map.colours, attribute)
        if numbers is None:
            raise not_found("The items have no such attribute; GET /facets lists them.")
        return Response(numbers, media_type=_BINARY)

    @routes.get("/map/items", summary="Items at points of the map")
    async def items(
        request: Request, point: Annotated[list[int] | None, Query(max_length=MAX_POINTS)] = None
    ) -> FoundItems:
        catalogue = (await live_bundle(services, request)).catalogue
        indexes = [number + 1 for number in point or [] if 0 <= number < catalogue.n_items]
        found = [FoundItem(**found_item(catalogue, index)) for index in indexes]
        return FoundItems(request_id=request.state.request_id, items=found)


def _add_users(routes: APIRouter, services: Services) -> None:
    @routes.get("/map/users", summary="Some users, each at the place of the profile or of a typical item")
    async def users(
        request: Request, caller: AdminCaller, limit: Annotated[int, Query(ge=1, le=MAX_USERS)] = MAX_USERS
    ) -> MapUsers:
        live = services.live_bundle(caller.tenant)
        item_map = await _map_of(live.catalogue)
        with store_errors(), _bundle_errors():
            user_ids = (await services.user_sample.find(caller.tenant, "", limit)).user_ids
            owners = [Owner(user_id, caller.tenant) for user_id in user_ids]
            histories = await services.histories.recent(owners, _EVENTS)
            places = await find_profile_places(
                live.catalogue, owners, services.user_data.erasures, services.settings.database
            )
        themes = await asyncio.gather(*(services.reader.themes(owner) for owner in owners))
        placed = []
        for owner, item_ids, own in zip(owners, histories, themes, strict=True):
            typical = item_map.typical_place(live.catalogue.index.indexes(item_ids))
            if typical is not None:
                place, theme = places.get(owner.id), own[0].value if own else None
                x, y = place or typical
                by: Literal["profile", "history"] = "profile" if place else "history"
                placed.append(MapUser(user_id=owner.id, x=x, y=y, by=by, theme=theme))
        return MapUsers(request_id=request.state.request_id, users=placed)


async def _map_of(catalogue: Catalogue) -> ItemMap:
    """Return the map, or raise a `Problem` 404 without one."""
    with _bundle_errors():
        item_map = await CONSOLE_THREADS.run(lambda: catalogue.map)
    if item_map is None:
        raise not_found("This bundle has no map, because an earlier version sealed it; the next training makes one.")
    return item_map


@contextmanager
def _bundle_errors() -> Iterator[None]:
    """Turn a BundleError of the block into a `Problem` 503."""
    try:
        yield
    except BundleError as error:
        raise Problem(503, "The map cannot be read; publish the bundle again.") from error
