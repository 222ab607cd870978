"""Item knowledge routes: what is known of an item can be read, corrected, forbidden, and released again.

A correction takes precedence over every language model and file. The command `retort items knowledge` uses the same
store. The text that responses show follows within `RETORT_FOLLOW_EVERY_S`; rankings follow with the next bundle.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field
from sqlalchemy import Engine

from retort.serving.api.auth import AdminCaller, Caller
from retort.serving.api.id_paths import PathId
from retort.serving.api.routes.documents import problems
from retort.serving.api.services import Services
from retort.serving.runtime.database import query_database
from retort.serving.schemas.requests import Body
from retort.shared.base.schema import KNOWLEDGE, KNOWLEDGE_AT, KNOWLEDGE_SOURCE
from retort.shared.base.text import VISIBLE_TEXT
from retort.shared.knowledge.item_knowledge import (
    MAX_TEXT_CHARS,
    KnowledgeView,
    correct_knowledge,
    release_knowledge,
    view_knowledge,
)

ItemId = Annotated[PathId, Path(description="item id")]
_EFFECT = (
    "The text that responses show follows within `RETORT_FOLLOW_EVERY_S` (5 s); rankings follow with the next bundle, "
    "by a training or `retort items add`."
)


class CorrectionText(Body):
    """A person's text about an item."""

    text: str = Field(min_length=1, max_length=MAX_TEXT_CHARS, pattern=VISIBLE_TEXT)


class KnowledgeText(BaseModel):
    """A text that a language model wrote about the item."""

    text: str | None = Field(description="null: the model knows nothing of the item")
    fields: dict[str, Any] | None = Field(description="its phrases by field")
    model: str
    prompt_version: str
    created_at: datetime


class BundleText(BaseModel):
    """The text that the serving bundle was made with."""

    text: str | None
    source: str | None = Field(description="model or file that it is from")
    written_at: str | None


class KnowledgeDocument(BaseModel):
    """What is known of an item."""

    request_id: str
    text: str | None = Field(description="text in force, which the next bundle reads")
    correction: str | None = Field(description="corrected or forbidden; null when models and files may give the text")
    set_at: datetime | None
    set_by: str | None
    bundle: BundleText | None = Field(description="null when the serving bundle does not have the item, or no texts")
    versions: list[KnowledgeText] = Field(description="newest first")


def router(services: Services) -> APIRouter:
    """Create the `/items/{item_id}/knowledge` routes."""
    routes = APIRouter(tags=["items"], responses=problems(400, 401, 403, 404, 408, 413, 422, 429, 503))

    async def change(
        request: Request, caller: Caller, item_id: str, query: Callable[[Engine], object]
    ) -> KnowledgeDocument:
        await query_database(services.settings.database, query)
        return await _read(services, request, caller, item_id)

    @routes.get("/items/{item_id:path}/knowledge", summary="What is known of an item")
    async def knowledge(request: Request, caller: AdminCaller, item_id: ItemId) -> KnowledgeDocument:
        return await _read(services, request, caller, item_id)

    @routes.put("/items/{item_id:path}/knowledge", summary="Correct the text of an item", description=_EFFECT)
    async def correct_item(
        request: Request, caller: AdminCaller, item_id: ItemId, body: CorrectionText
    ) -> KnowledgeDocument:
        return await change(request, caller, item_id, _correction(caller, item_id, body.text))

    @routes.delete(
        "/items/{item_id:path}/knowledge/correction",
        summary="Withdraw a correction or a prohibition",
        description=_EFFECT,
    )
    async def release_item(request: Request, caller: AdminCaller, item_id: ItemId) -> KnowledgeDocument:
        return await change(
            request, caller, item_id, lambda engine: release_knowledge(engine, item_id, tenant=caller.tenant)
        )

    @routes.delete("/items/{item_id:path}/knowledge", summary="Forbid any text of an item", description=_EFFECT)
    async def forbid_item(request: Request, caller: AdminCaller, item_id: ItemId) -> KnowledgeDocument:
        return await change(request, caller, item_id, _correction(caller, item_id, None))

    return routes


def _correction(caller: Caller, item_id: str, text: str | None) -> Callable[[Engine], object]:
    return lambda engine: correct_knowledge(engine, item_id, text, set_by=caller.name, tenant=caller.tenant)


async def _read(services: Services, request: Request, caller: Caller, item_id: str) -> KnowledgeDocument:
    view = await query_database(
        services.settings.database, lambda engine: view_knowledge(engine, item_id, tenant=caller.tenant)
    )
    return _document(request.state.request_id, view, _of_bundle(services, caller.tenant, item_id))


def _of_bundle(services: Services, tenant: str, item_id: str) -> BundleText | None:
    live = services.models.current(tenant)
    index = None if live is None else live.catalogue.index.index(item_id)
    if live is None or index is None or KNOWLEDGE not in live.catalogue.columns:
        return None
    values = live.catalogue.sealed_fields(index, [KNOWLEDGE, KNOWLEDGE_SOURCE, KNOWLEDGE_AT])
    return BundleText(text=values[KNOWLEDGE], source=values.get(KNOWLEDGE_SOURCE), written_at=values.get(KNOWLEDGE_AT))


def _document(request_id: str, view: KnowledgeView, bundle: BundleText | None) -> KnowledgeDocument:
    correction = view.correction
    return KnowledgeDocument(
        request_id=request_id,
        text=view.text if view.correction or view.versions or bundle is None else bundle.text,
        correction=None if correction is None else "forbidden" if correction.text is None else "corrected",
        set_at=None if correction is None else correction.set_at,
        set_by=None if correction is None else correction.set_by,
        bundle=bundle,
        versions=[KnowledgeText(**vars(version)) for version in view.versions],
    )
