"""Route of new items: they are queued for the offline side, which describes them and adds them to the champion.

No language model and no training library runs here: a refresh of one chunk is written to the database, and a worker of
the queue `gpu-llm` takes it. `/refreshes/{refresh_id}` shows its progress and result.
"""

from collections import Counter
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field, StringConstraints, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

from retort.serving.api.auth import AdminCaller, Caller
from retort.serving.api.routes.documents import problems
from retort.serving.api.routes.refreshes import RefreshDocument, read_refresh
from retort.serving.api.services import Services
from retort.serving.catalogue.catalogue import Catalogue
from retort.serving.runtime.database import query_database
from retort.serving.schemas.problems import Problem
from retort.serving.schemas.requests import NOT_BOOLEAN, AttributeName, Body, StoredId
from retort.serving.schemas.suggestions import suggest
from retort.shared.base.schema import KNOWLEDGE, RESERVED_ITEM_COLUMNS
from retort.shared.base.text import VISIBLE_TEXT
from retort.shared.profiles.new_items import NewItems, request_new_items
from retort.shared.profiles.refreshes import RefreshBusyError

MAX_NEW_ITEMS = 1000
MAX_ATTRIBUTES = 50
MAX_CHARS = 2000
_MAX_LISTED = 100
# no NUL, which PostgreSQL cannot store
_Text = Annotated[str, StringConstraints(max_length=MAX_CHARS, pattern=r"^[^\x00]*$")]
_Words = Annotated[str, StringConstraints(max_length=MAX_CHARS, pattern=VISIBLE_TEXT)]
_Integer = Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_VALUE = (
    f"must be text of at most {MAX_CHARS:,} characters, a list of at most {_MAX_LISTED} such texts, a number, true, "
    "false or null."
)


def _one_reason(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """One reason, instead of one for each type that an attribute's value may have."""
    try:
        return check(value)
    except ValidationError:
        raise PydanticCustomError("attribute_value", _VALUE) from None


Value = bool | _Integer | _Number | _Text | Annotated[list[_Text], Field(max_length=_MAX_LISTED)] | None


class NewItem(Body):
    """An item that no training has seen."""

    item_id: StoredId
    title: _Words
    attributes: dict[AttributeName, Annotated[Value, WrapValidator(_one_reason)]] = Field(
        default_factory=dict,
        max_length=MAX_ATTRIBUTES,
        description="attributes that the catalogue has; times as ISO 8601",
    )
    knowledge: _Words | None = Field(
        None, description="text about the item, if you have one; null: the recipe's language model writes it"
    )


class NewItemsRequest(Body):
    """Items to describe and to add to the champion, without training."""

    items: list[NewItem] = Field(min_length=1, max_length=MAX_NEW_ITEMS)
    share: Annotated[float, Field(ge=0, le=1), NOT_BOOLEAN] | None = Field(
        None,
        description="largest share of the places in lists of ten that they take; null: their share of the catalogue",
    )


def router(services: Services) -> APIRouter:
    """Create the route `POST /items`, which requires the admin scope."""
    routes = APIRouter(tags=["items"], responses=problems(400, 401, 403, 408, 409, 413, 422, 429, 503))

    @routes.post(
        "/items",
        status_code=202,
        summary="Add new items",
        description="A worker describes the items as the champion's recipe says, adds them to the champion by their "
        "texts, and makes the result the champion. The same items sent again are the same request. Items that the "
        "champion has stay unchanged.",
    )
    async def add(request: Request, caller: AdminCaller, body: NewItemsRequest) -> RefreshDocument:
        refuse_repeated(body)
        live = services.models.current(caller.tenant)
        catalogue = None if live is None else live.catalogue
        if catalogue is not None:
            refuse_unknown_attributes(body, catalogue)
        try:
            refresh_id = await query_database(
                services.settings.database,
                lambda engine: request_new_items(
                    engine, _new_items(caller, body), is_served=_served_by(catalogue), tenant=caller.tenant
                ),
            )
        except RefreshBusyError as error:
            raise Problem(409, str(error)) from None
        return await read_refresh(services, request, caller, refresh_id)

    return routes


def refuse_repeated(body: NewItemsRequest) -> None:
    """Raise a 422 if an id stands twice in one request."""
    counts = Counter(item.item_id for item in body.items)
    for place, item in enumerate(body.items):
        if counts[item.item_id] > 1:
            raise Problem(422, f"items.{place}.item_id: another item of the request has this id; send each item once.")


def refuse_unknown_attributes(body: NewItemsRequest, catalogue: Catalogue) -> None:
    """Raise a 422 for an attribute that the catalogue does not have; it would be lost."""
    known = [name for name in catalogue.columns if name not in RESERVED_ITEM_COLUMNS and not _is_facet(name)]
    for place, item in enumerate(body.items):
        if unknown := [name for name in item.attributes if name not in known]:
            near = suggest(unknown[0], known)
            remedy = f"did you mean {near}?" if near else f"the attributes are {', '.join(known) or '(none)'}."
            # the name is the caller's own text, so it is not repeated
            raise Problem(422, f"items.{place}.attributes: unknown attribute; {remedy}")


def _is_facet(name: str) -> bool:
    return name.startswith(f"{KNOWLEDGE}_")


def _served_by(catalogue: Catalogue | None) -> Any:
    return lambda item_id: catalogue is not None and catalogue.index.index(item_id) is not None


def _new_items(caller: Caller, body: NewItemsRequest) -> NewItems:
    items = [item.model_dump(mode="json", exclude_none=True) for item in body.items]
    return NewItems(items, body.share, caller.name)
