"""Routes of the model registry: published versions and promotions."""

from datetime import datetime

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from sqlalchemy import Engine

from retort.serving.api.auth import AdminCaller
from retort.serving.api.routes.documents import problems
from retort.serving.api.services import Services
from retort.serving.runtime.database import query_database
from retort.shared.model import registry

MAX_VERSIONS = 100
MAX_PROMOTIONS = 50


class VersionDocument(BaseModel):
    """A published bundle."""

    name: str
    version: int
    bundle_id: str
    created_at: datetime
    aliases: list[str]
    test: dict[str, float] = Field(description="results of its test, by metric")


class PromotionDocument(BaseModel):
    """A promotion of a bundle to an alias."""

    alias: str
    bundle_id: str
    model: str = Field(description="name and version")
    set_at: datetime
    withdrawn_at: datetime | None = Field(description="when it was rolled back")
    set_by: str | None
    reason: str | None = Field(description="the verdict of the promotion gate")
    forced: bool


class VersionsDocument(BaseModel):
    """The newest versions and promotions, newest first."""

    request_id: str
    versions: list[VersionDocument]
    promotions: list[PromotionDocument]


def router(services: Services) -> APIRouter:
    """Create the `/models/versions` route."""
    routes = APIRouter(tags=["operations"], responses=problems(401, 403, 429, 503))

    @routes.get("/models/versions", summary="Published versions and promotions")
    async def versions(request: Request, caller: AdminCaller) -> VersionsDocument:
        def read(engine: Engine) -> VersionsDocument:
            return _read(engine, caller.tenant, request.state.request_id)

        return await query_database(services.settings.database, read)

    return routes


def _read(engine: Engine, tenant: str, request_id: str) -> VersionsDocument:
    published = registry.list_published(engine, tenant=tenant, limit=MAX_VERSIONS)
    names = {row.bundle_id: f"{row.name}@{row.version}" for row in published}
    changes = registry.changes(engine, tenant=tenant, limit=MAX_PROMOTIONS)
    return VersionsDocument(
        request_id=request_id,
        versions=[
            VersionDocument(
                name=row.name,
                version=row.version,
                bundle_id=row.bundle_id,
                created_at=row.created_at,
                aliases=list(row.aliases),
                test=numbers(row.metrics.get("test")),
            )
            for row in published
        ],
        promotions=[
            PromotionDocument(model=names.get(change.bundle_id, change.bundle_id), **vars(change)) for change in changes
        ],
    )


def numbers(metrics: object) -> dict[str, float]:
    """Return the metrics that are numbers."""
    if not isinstance(metrics, dict):
        return {}
    return {str(name): float(value) for name, value in metrics.items() if isinstance(value, (int, float))}
