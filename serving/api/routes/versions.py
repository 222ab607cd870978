"""Routes of the model registry: published versions, their comparison, promotion through the gate, and rollback."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi import Path as PathParameter
from pydantic import BaseModel, Field
from sqlalchemy import Engine

from retort.serving.api.auth import AdminCaller, Caller
from retort.serving.api.routes.documents import problems
from retort.serving.api.services import Services
from retort.serving.models.version_gate import bundle_directory
from retort.serving.runtime.database import query_database
from retort.serving.schemas.problems import Problem, not_found
from retort.serving.schemas.requests import Body
from retort.shared.base.errors import BundleError
from retort.shared.base.text import VISIBLE_TEXT
from retort.shared.model import registry
from retort.shared.model.promotion_gate import Verdict
from retort.shared.model.registry import RegistryError

MAX_VERSIONS = 100
MAX_PROMOTIONS = 50
Alias = Annotated[str, PathParameter(pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="name of the alias")]
BundleId = Annotated[str, Query(pattern=r"^[0-9a-f]{16}$", description="id of a published bundle")]


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


class ComparisonDocument(BaseModel):
    """Verdict of the promotion gate on a bundle, compared with the bundle of an alias."""

    request_id: str
    bundle_id: str
    alias: str
    passed: bool
    reason: str
    metric: str | None = Field(description="null where nothing could be compared")
    champion: float | None
    challenger: float | None
    low: float | None = Field(description="95 % interval of challenger − champion")
    high: float | None
    users: int | None


class PromotionRequest(Body):
    """A promotion."""

    bundle_id: str = Field(pattern=r"^[0-9a-f]{16}$")
    force: bool = Field(False, description="despite the gate; requires `because`, and is recorded")
    because: str | None = Field(
        None, min_length=1, max_length=500, pattern=VISIBLE_TEXT, description="the reason, stored with the promotion"
    )


class MovedDocument(BaseModel):
    """The bundle to which an alias points now. Servers follow within `RETORT_FOLLOW_EVERY_S`."""

    request_id: str
    alias: str
    bundle_id: str
    model: str
    reason: str | None = None


def router(services: Services) -> APIRouter:
    """Create the routes, which require the admin scope."""
    routes = APIRouter(tags=["operations"], responses=problems(401, 403, 422, 429, 503))
    _add_views(routes, services)
    _add_moves(routes, services)
    return routes


def _add_views(routes: APIRouter, services: Services) -> None:
    @routes.get("/models/versions", summary="Published versions and promotions")
    async def versions(request: Request, caller: AdminCaller) -> VersionsDocument:
        def read(engine: Engine) -> VersionsDocument:
            return _read(engine, caller.tenant, request.state.request_id)

        return await query_database(services.settings.database, read)

    @routes.get(
        "/models/comparison",
        summary="Paired comparison of a version with the bundle of an alias",
        responses=problems(404),
    )
    async def comparison(
        request: Request, caller: AdminCaller, bundle_id: BundleId, alias: str = registry.CHAMPION
    ) -> ComparisonDocument:
        verdict = await query_database(
            services.settings.database, lambda engine: _judge(services, engine, caller.tenant, bundle_id, alias)
        )
        return _compared(request, bundle_id, alias, verdict)


def _add_moves(routes: APIRouter, services: Services) -> None:
    moves = problems(400, 404, 408, 409, 413)

    @routes.post("/models/aliases/{alias}/promotion", summary="Promote a bundle through the gate", responses=moves)
    async def promote(request: Request, caller: AdminCaller, alias: Alias, body: PromotionRequest) -> MovedDocument:
        if body.force and not body.because:
            raise Problem(422, "because: a forced promotion requires a reason, which is stored with it.")
        published, reason = await query_database(
            services.settings.database, lambda engine: _promote(services, engine, caller, alias, body)
        )
        return _moved(request, alias, published, reason)

    @routes.post("/models/aliases/{alias}/rollback", summary="Undo the last promotion of an alias", responses=moves)
    async def rollback(request: Request, caller: AdminCaller, alias: Alias) -> MovedDocument:
        def undo(engine: Engine) -> registry.Published:
            try:
                return registry.rollback(engine, alias, tenant=caller.tenant)
            except RegistryError as error:
                raise Problem(409, str(error)) from None

        return _moved(request, alias, await query_database(services.settings.database, undo))


def _compared(request: Request, bundle_id: str, alias: str, verdict: Verdict) -> ComparisonDocument:
    found = verdict.comparison
    return ComparisonDocument(
        request_id=request.state.request_id,
        bundle_id=bundle_id,
        alias=alias,
        passed=verdict.passed,
        reason=verdict.reason,
        metric=found and found.metric,
        champion=found and found.a,
        challenger=found and found.b,
        low=found and found.low,
        high=found and found.high,
        users=found and found.users,
    )


def _moved(request: Request, alias: str, published: registry.Published, reason: str | None = None) -> MovedDocument:
    return MovedDocument(
        request_id=request.state.request_id,
        alias=alias,
        bundle_id=published.bundle_id,
        model=f"{published.name}@{published.version}",
        reason=reason,
    )


def _promote(
    services: Services, engine: Engine, caller: Caller, alias: str, body: PromotionRequest
) -> tuple[registry.Published, str]:
    verdict = _judge(services, engine, caller.tenant, body.bundle_id, alias)
    if not (verdict.passed or body.force):
        raise Problem(409, f"{alias} is not moved: {verdict.reason} To promote anyway, force it and give a reason.")
    reason = " | ".join(filter(None, (body.because, verdict.reason)))
    moved = registry.promote(
        engine,
        body.bundle_id,
        alias,
        tenant=caller.tenant,
        set_by=caller.name or "console",
        reason=reason,
        forced=not verdict.passed,
    )
    return moved, verdict.reason


def _judge(services: Services, engine: Engine, tenant: str, bundle_id: str, alias: str) -> Verdict:
    try:
        challenger = registry.resolve(engine, bundle_id, tenant=tenant)
    except RegistryError:
        raise not_found("No bundle of this id is published; GET /models/versions lists them.") from None
    current = registry.aliases(engine, tenant=tenant).get(alias)
    if current is None or current == bundle_id:
        return Verdict(True, f"{alias} points to no other bundle, so there is none to compare with.")
    champion = registry.resolve(engine, current, tenant=tenant)
    cache = services.settings.retort_home / "serving" / "bundles"
    paths = [bundle_directory(published, cache) for published in (champion, challenger)]
    if not all(paths):
        return Verdict(False, "this server has no copy of one of the two bundles; use `retort promote`.")
    try:
        before, after = (path for path in paths if isinstance(path, Path))
        return services.verdicts.compare(before, after)
    except BundleError as error:
        return Verdict(False, f"the two cannot be compared: {error}")


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
