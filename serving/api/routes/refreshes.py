"""Refresh routes: request, list and cancel refreshes of profiles. Workers run them; no model runs here."""

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from retort.serving.api.auth import AdminCaller, Caller
from retort.serving.api.routes.documents import problems
from retort.serving.api.services import Services
from retort.serving.runtime.database import query_database
from retort.serving.schemas.problems import Problem, not_found
from retort.serving.schemas.requests import ALL_CANONICAL, NOT_BOOLEAN, Body, IdAsSent
from retort.shared.base.text import ID_PATTERN
from retort.shared.profiles.refreshes import (
    JobStatus,
    Progress,
    RefreshBusyError,
    RefreshError,
    cancel_job,
    read_job,
    read_jobs,
    request_refresh,
    user_problems,
)

MAX_USERS = 10_000
RefreshId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="refresh id")]

_Count = Annotated[int, Field(ge=1), NOT_BOOLEAN]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), NOT_BOOLEAN]


class Rules(Body):
    """Parameters of the policies; the default is the policy's."""

    max_age_days: _Positive | None = Field(None, description="schedule: older profiles are rewritten")
    min_new_events: _Count | None = Field(None, description="events: events since the profile was written")
    min_drift: Annotated[float, Field(ge=0, le=1), NOT_BOOLEAN] | None = Field(
        None, description="drift: 1 - cosine similarity of the categories then and now"
    )
    max_tokens: _Count | None = Field(None, description="budgeted: tokens that this refresh may use")
    update: bool | None = Field(None, description="update the old profile instead of reading the whole history")


class RefreshRequest(Body):
    """Parameters for repeating the latest refresh of a name, with the same recipe, data and model."""

    name: str = Field(
        min_length=1,
        max_length=128,
        pattern=ID_PATTERN,
        description="name of a refresh that was started by `retort refresh start`",
    )
    policy: Literal["all", "schedule", "events", "drift", "budgeted"] = "all"
    rules: Rules = Field(default_factory=Rules)
    user_ids: Annotated[list[IdAsSent], ALL_CANONICAL] | None = Field(
        None, min_length=1, max_length=MAX_USERS, description="null: all users"
    )
    budget_tokens: Annotated[int, Field(ge=1, le=10**15), NOT_BOOLEAN] | None = None
    budget_usd: _Positive | None = None


@dataclass(frozen=True, kw_only=True)
class RefreshDocument(Progress):
    """Progress of a refresh. In the status `asked` no worker has started it, and its users are not counted yet."""

    request_id: str
    users: int
    seconds_left: float | None
    problems: Annotated[dict[str, int], Field(description="number of users without a profile by reason")]


class RefreshList(BaseModel):
    """The latest refreshes, newest first."""

    request_id: str
    refreshes: list[RefreshDocument]


def router(services: Services) -> APIRouter:
    """Create the `/refreshes` routes, which require the admin scope."""
    routes = APIRouter(tags=["profiles"], responses=problems(400, 401, 403, 404, 408, 413, 422, 429, 503))
    _add_request(routes, services)
    _add_views(routes, services)
    _add_cancel(routes, services)
    return routes


def _add_request(routes: APIRouter, services: Services) -> None:
    @routes.post("/refreshes", status_code=202, summary="Request a refresh of profiles", responses=problems(404, 409))
    async def ask(request: Request, caller: AdminCaller, body: RefreshRequest) -> RefreshDocument:
        try:
            refresh_id = await query_database(
                services.settings.database, lambda engine: _request_refresh(engine, caller, body)
            )
        except RefreshBusyError as error:
            raise Problem(409, str(error)) from None
        except RefreshError:
            raise not_found(
                "No refresh of this name exists; start the first one with `retort refresh start`."
            ) from None
        return await read_refresh(services, request, caller, refresh_id)


def _request_refresh(engine: Any, caller: Caller, body: RefreshRequest) -> str:
    spec = {
        "policy": body.policy,
        "rules": body.rules.model_dump(exclude_none=True),
        "user_ids": sorted(set(body.user_ids)) if body.user_ids is not None else None,
        "asked_by": caller.name,
    }
    return request_refresh(
        engine,
        body.name,
        spec,
        budget_tokens=body.budget_tokens,
        budget_usd=body.budget_usd,
        tenant=caller.tenant,
    )


def _add_views(routes: APIRouter, services: Services) -> None:
    @routes.get("/refreshes", summary="The latest refreshes")
    async def latest(request: Request, caller: AdminCaller) -> RefreshList:
        jobs = await query_database(services.settings.database, lambda engine: read_jobs(engine, tenant=caller.tenant))
        request_id = request.state.request_id
        return RefreshList(request_id=request_id, refreshes=[_document(request_id, job, {}) for job in jobs])

    @routes.get("/refreshes/{refresh_id}", summary="Progress of a refresh", responses=problems(404))
    async def one(request: Request, caller: AdminCaller, refresh_id: RefreshId) -> RefreshDocument:
        return await read_refresh(services, request, caller, refresh_id)


def _add_cancel(routes: APIRouter, services: Services) -> None:
    @routes.post(
        "/refreshes/{refresh_id}/cancel",
        summary="Cancel a refresh; the written profiles are kept",
        responses=problems(404, 409),
    )
    async def cancel(request: Request, caller: AdminCaller, refresh_id: RefreshId) -> RefreshDocument:
        await read_refresh(services, request, caller, refresh_id)
        try:
            await query_database(
                services.settings.database, lambda engine: cancel_job(engine, refresh_id, tenant=caller.tenant)
            )
        except RefreshError as error:
            raise Problem(409, str(error)) from None
        return await read_refresh(services, request, caller, refresh_id)


async def read_refresh(services: Services, request: Request, caller: Caller, refresh_id: str) -> RefreshDocument:
    """Read the progress of a refresh of the caller's tenant, or raise a 404."""
    try:
        job, counts = await query_database(
            services.settings.database,
            lambda engine: (read_job(engine, refresh_id, caller.tenant), user_problems(engine, refresh_id)),
        )
    except RefreshError:
        raise not_found("No refresh of this id exists; GET /refreshes lists the latest.") from None
    return _document(request.state.request_id, job, dict(counts.most_common(20)))


def _document(request_id: str, job: JobStatus, problem_counts: dict[str, int]) -> RefreshDocument:
    progress = {field.name: getattr(job, field.name) for field in fields(Progress)}
    return RefreshDocument(
        request_id=request_id, users=job.n_users, seconds_left=job.seconds_left, problems=problem_counts, **progress
    )
