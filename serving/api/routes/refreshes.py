"""Refreshes of profiles over HTTP: one more is asked for, seen, called off. Workers do it; no model runs here."""

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from retort.serving.api.admin_database import ask_database
from retort.serving.api.auth import Caller
from retort.serving.api.routes.admin import Admin
from retort.serving.api.routes.documents import problems
from retort.serving.api.services import Services
from retort.serving.schemas.problems import Problem, not_found
from retort.serving.schemas.requests import Body, Id
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
RefreshId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="a refresh's id")]


class Rules(Body):
    """Keys of the policies; what is left out is the policy's own default."""

    max_age_days: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="schedule: older profiles are written anew"
    )
    min_new_events: int | None = Field(None, ge=1, description="events: this many since the profile")
    min_drift: float | None = Field(None, ge=0, le=1, description="drift: 1 - cosine of categories then and now")
    max_tokens: int | None = Field(None, ge=1, description="budgeted: what this refresh may use")
    update: bool | None = Field(None, description="carry the old profile on instead of reading everything again")


class RefreshRequest(Body):
    """One more refresh like the latest of this name: the same recipe, data and model."""

    name: str = Field(
        min_length=1,
        max_length=128,
        pattern=r"^[^\x00-\x1f\x7f]+$",
        description="of a refresh that was once started by a command",
    )
    policy: Literal["all", "schedule", "events", "drift", "budgeted"] = "all"
    rules: Rules = Field(default_factory=Rules)
    user_ids: list[Id] | None = Field(None, min_length=1, max_length=MAX_USERS, description="null: everybody")
    budget_tokens: int | None = Field(None, ge=1, le=10**15)
    budget_usd: float | None = Field(None, gt=0, allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True)
class RefreshDocument(Progress):
    """How far a refresh is. asked: no worker has taken it up yet; its users are counted when one has."""

    request_id: str
    users: int
    seconds_left: float | None
    problems: Annotated[dict[str, int], Field(description="why users have no profile, and how many")]


class RefreshList(BaseModel):
    """The latest, newest first."""

    request_id: str
    refreshes: list[RefreshDocument]


def router(services: Services) -> APIRouter:
    """All `/refreshes` routes, under the admin scope."""
    routes = APIRouter(tags=["profiles"], responses=problems(400, 401, 403, 404, 413, 422, 429, 503))
    _add_ask(routes, services)
    _add_views(routes, services)
    _add_cancel(routes, services)
    return routes


def _add_ask(routes: APIRouter, services: Services) -> None:
    @routes.post("/refreshes", status_code=202, summary="Ask for a refresh of profiles", responses=problems(404, 409))
    async def ask(request: Request, caller: Admin, asked: RefreshRequest) -> RefreshDocument:
        try:
            refresh_id = await ask_database(services.settings.database, lambda engine: _ask(engine, caller, asked))
        except RefreshBusyError as error:
            raise Problem(409, str(error)) from None
        except RefreshError:
            raise not_found("No refresh of this name is known; start the first by `retort refresh start`.") from None
        return await _shown(services, request, caller, refresh_id)


def _ask(engine: Any, caller: Caller, asked: RefreshRequest) -> str:
    what = {
        "policy": asked.policy,
        "rules": asked.rules.model_dump(exclude_none=True),
        "user_ids": sorted(set(asked.user_ids)) if asked.user_ids is not None else None,
        "asked_by": caller.name,
    }
    return request_refresh(
        engine,
        asked.name,
        what,
        budget_tokens=asked.budget_tokens,
        budget_usd=asked.budget_usd,
        tenant=caller.tenant,
    )


def _add_views(routes: APIRouter, services: Services) -> None:
    @routes.get("/refreshes", summary="The latest refreshes")
    async def latest(request: Request, caller: Admin) -> RefreshList:
        found = await ask_database(services.settings.database, lambda engine: read_jobs(engine, tenant=caller.tenant))
        request_id = request.state.request_id
        return RefreshList(request_id=request_id, refreshes=[_document(request_id, one, {}) for one in found])

    @routes.get("/refreshes/{refresh_id}", summary="How far a refresh is", responses=problems(404))
    async def one(request: Request, caller: Admin, refresh_id: RefreshId) -> RefreshDocument:
        return await _shown(services, request, caller, refresh_id)


def _add_cancel(routes: APIRouter, services: Services) -> None:
    @routes.post(
        "/refreshes/{refresh_id}/cancel",
        summary="Call a refresh off; what was written is kept",
        responses=problems(404, 409),
    )
    async def cancel(request: Request, caller: Admin, refresh_id: RefreshId) -> RefreshDocument:
        await _shown(services, request, caller, refresh_id)
        try:
            await ask_database(
                services.settings.database, lambda engine: cancel_job(engine, refresh_id, tenant=caller.tenant)
            )
        except RefreshError as error:
            raise Problem(409, str(error)) from None
        return await _shown(services, request, caller, refresh_id)


async def _shown(services: Services, request: Request, caller: Caller, refresh_id: str) -> RefreshDocument:
    try:
        job, why = await ask_database(
            services.settings.database,
            lambda engine: (read_job(engine, refresh_id, caller.tenant), user_problems(engine, refresh_id)),
        )
    except RefreshError:
        raise not_found("No refresh of this id is known.") from None
    return _document(request.state.request_id, job, dict(why.most_common(20)))


def _document(request_id: str, job: JobStatus, why: dict[str, int]) -> RefreshDocument:
    same = {one.name: getattr(job, one.name) for one in fields(Progress)}
    return RefreshDocument(
        request_id=request_id, users=job.n_users, seconds_left=job.seconds_left, problems=why, **same
    )
