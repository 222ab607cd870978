"""Operations routes: probes, metrics and the loaded bundles."""

from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field

from retort.serving.api.auth import Scope
from retort.serving.api.routes.documents import problems
from retort.serving.api.services import Services
from retort.serving.models.model_slots import Slot


class Live(BaseModel):
    """The process is alive."""

    status: str = "live"


class Ready(BaseModel):
    """The server is ready. `degraded` names dependencies that are down; responses then carry a fallback reason."""

    status: str = "ready"
    degraded: list[str] = []
    outdated: list[str] = Field(
        [],
        exclude_if=lambda aliases: not aliases,
        description="aliases whose last good bundle serves, because the bundle that they name was refused or cannot be "
        "read; `/models` gives the reason",
    )


class RefusalDocument(BaseModel):
    """A refused bundle, or a refused variant of an A/B test."""

    where: str
    reason: str
    at: str


class SlotDocument(BaseModel):
    """The bundle of one alias of one tenant."""

    tenant: str
    alias: str
    name: str | None = None
    version: str | None = None
    student: str | None = None
    n_items: int | None = None
    fields: list[str] | None = Field(None, description="attributes of its items, for `fields` of a request")
    max_length: int | None = None
    metrics: dict[str, Any] | None = None
    loaded_at: str | None = None
    latency_ms: float | None = None
    refusals: list[RefusalDocument] = []
    outdated: str | None = Field(
        None,
        exclude_if=lambda reason: reason is None,
        description="why the last good bundle serves instead of the alias' own",
    )


class ModelsDocument(BaseModel):
    """The bundles of the caller's tenant."""

    models: list[SlotDocument]


def router(services: Services) -> APIRouter:
    """Create `/health/live`, `/health/ready`, `/metrics` and `/models`."""
    routes = APIRouter(tags=["operations"])

    @routes.get("/health/live", summary="Liveness probe")
    async def live() -> Live:
        return Live()

    @routes.get("/health/ready", summary="Readiness probe", responses=problems(503))
    async def ready() -> Ready:
        services.check_ready()
        outdated = sorted({alias for _, alias, slot in services.models.all() if slot.outdated is not None})
        return Ready(degraded=["redis"] if services.reader.is_degraded else [], outdated=outdated)

    @routes.get("/metrics", summary="Metrics in Prometheus' text format", response_class=Response)
    async def metrics() -> Response:
        return Response(services.metrics.render(), media_type=CONTENT_TYPE_LATEST)

    @routes.get("/models", summary="Loaded and refused bundles", responses=problems(401, 403, 429))
    async def models(request: Request) -> ModelsDocument:
        caller = await services.authenticator.authenticate_within_limits(dict(request.scope["headers"]), Scope.READ)
        visible = [entry for entry in services.models.all() if entry[0] == caller.tenant]
        return ModelsDocument(models=[_document(*entry) for entry in visible])

    return routes


def _document(tenant: str, alias: str, slot: Slot) -> SlotDocument:
    refusals = [
        RefusalDocument(where=refusal.where, reason=refusal.reason, at=refusal.at.isoformat())
        for refusal in slot.refusals
    ]
    live = slot.current
    if live is None:
        return SlotDocument(tenant=tenant, alias=alias, refusals=refusals)
    manifest = live.bundle.manifest
    return SlotDocument(
        tenant=tenant,
        alias=alias,
        name=live.name,
        version=live.version,
        student=manifest.student,
        n_items=manifest.n_items,
        fields=live.catalogue.field_names,
        max_length=manifest.max_length,
        metrics=manifest.metrics,
        loaded_at=live.loaded_at.isoformat(),
        latency_ms=round(live.latency_ms, 3),
        refusals=refusals,
        outdated=slot.outdated,
    )
