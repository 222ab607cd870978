"""Item routes: search by title or id, one item with what is known of it, and the values of the attributes."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field

from retort.serving.api.auth import Scope
from retort.serving.api.id_paths import PathId
from retort.serving.api.routes.documents import problems
from retort.serving.api.services import Services
from retort.serving.catalogue.catalogue import Catalogue
from retort.serving.catalogue.item_search import MAX_QUERY_CHARS, TITLE_COLUMNS
from retort.serving.models.bundles import LiveBundle
from retort.serving.runtime.threads import CONSOLE_THREADS
from retort.serving.schemas.problems import Problem, not_found
from retort.shared.base.errors import BundleError

MAX_FOUND = 100


class FoundItem(BaseModel):
    """An item that a search found."""

    item_id: str
    title: str | None
    popularity: int = Field(description="train events")
    point: int = Field(description="its number in the bundle, from 0: its place in the map")


class FoundItems(BaseModel):
    """Result of a search, most popular first."""

    request_id: str
    items: list[FoundItem]


class TrendDocument(BaseModel):
    """Train events of an item in equal spans of time."""

    start: datetime
    end: datetime
    counts: list[int]


class ItemDocument(FoundItem):
    """One item as the bundle has it, with corrections of its knowledge."""

    request_id: str
    fields: dict[str, Any]
    popularity_rank: int = Field(description="1: the most popular item")
    n_items: int
    trend: TrendDocument | None = Field(description="null in bundles of earlier versions")


class FacetValueDocument(BaseModel):
    """A value and the number of items that have it."""

    value: str | bool
    items: int


class FacetDocument(BaseModel):
    """Values of one attribute."""

    name: str
    kind: Literal["text", "number", "boolean", "time"]
    items: int = Field(description="items that have a value")
    values: list[FacetValueDocument] = Field(description="the most frequent values; none for numbers and times")
    n_values: int = Field(description="different values")
    low: float | str | None = Field(description="smallest number or time")
    high: float | str | None


class FacetsDocument(BaseModel):
    """Values of the attributes that filters may use."""

    request_id: str
    facets: list[FacetDocument]


async def live_bundle(services: Services, request: Request, scope: Scope = Scope.READ) -> LiveBundle:
    """Authenticate and return the bundle of the caller's tenant.

    Raises:
        Problem: 401, 403 or 429 of the key; 503 without a bundle.
    """
    caller = await services.authenticator.authenticate_within_limits(dict(request.scope["headers"]), scope)
    return services.live_bundle(caller.tenant)


def router(services: Services) -> APIRouter:
    """Create `/items`, `/items/{item_id}` and `/facets`; after the routes of item knowledge, whose paths are longer."""
    routes = APIRouter(tags=["items"], responses=problems(401, 403, 422, 429, 503))

    @routes.get("/items", summary="Search items by words of the title, or by id")
    async def search(
        request: Request,
        query: Annotated[str, Query(max_length=MAX_QUERY_CHARS, description="starts of words; empty: popular")] = "",
        limit: Annotated[int, Query(ge=1, le=MAX_FOUND)] = 10,
    ) -> FoundItems:
        catalogue = (await live_bundle(services, request)).catalogue
        found = await CONSOLE_THREADS.run(catalogue.search.find, query, limit)
        exact = catalogue.index.index(query)
        indexes = [index for index in found.tolist() if index != exact]
        ordered = indexes if exact is None else [exact, *indexes][:limit]
        return FoundItems(
            request_id=request.state.request_id, items=[FoundItem(**found_item(catalogue, index)) for index in ordered]
        )

    @routes.get("/facets", summary="Values of the items' attributes, for filters")
    async def facets(request: Request) -> FacetsDocument:
        catalogue = (await live_bundle(services, request)).catalogue
        found = await CONSOLE_THREADS.run(lambda: catalogue.facets)
        documents = [FacetDocument.model_validate(asdict(facet)) for facet in found]
        return FacetsDocument(request_id=request.state.request_id, facets=documents)

    @routes.get("/items/{item_id:path}", summary="One item", responses=problems(404))
    async def item(request: Request, item_id: Annotated[PathId, Path(description="item id")]) -> ItemDocument:
        catalogue = (await live_bundle(services, request)).catalogue
        index = catalogue.index.index(item_id)
        if index is None:
            raise not_found("The bundle has no such item.")
        trend = await CONSOLE_THREADS.run(_trend, catalogue, index)
        return ItemDocument(
            trend=trend,
            request_id=request.state.request_id,
            fields=catalogue.fields(index, catalogue.field_names),
            popularity_rank=int(catalogue.popularity_ranks[index]),
            n_items=catalogue.n_items,
            **found_item(catalogue, index),
        )

    return routes


def _trend(catalogue: Catalogue, index: int) -> TrendDocument | None:
    try:
        trends = catalogue.trends
    except BundleError as error:
        raise Problem(503, "The item's events over time cannot be read; publish the bundle again.") from error
    if trends is None:
        return None
    start, end = (datetime.fromtimestamp(time_ms / 1000, UTC) for time_ms in (trends.first, trends.last))
    return TrendDocument(start=start, end=end, counts=trends.counts[index - 1].tolist())


def found_item(catalogue: Catalogue, index: int) -> dict[str, Any]:
    """Return the fields of a `FoundItem`."""
    names = catalogue.fields(index, list(TITLE_COLUMNS)).values()
    title = next((str(name) for name in names if name is not None and str(name).strip()), None)
    return {
        "item_id": catalogue.ids[index],
        "title": title,
        "popularity": int(catalogue.popularity[index]),
        "point": index - 1,
    }
