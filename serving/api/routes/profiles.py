"""Profile routes: a user's profile can be read, edited, pinned, erased, and released again.

A choice takes precedence over every refresh. It takes effect on recommendations after the next training.
"""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from retort.serving.api.auth import AdminCaller, Caller
from retort.serving.api.id_paths import PathId
from retort.serving.api.routes.documents import problems
from retort.serving.api.services import Services
from retort.serving.runtime.database import query_database
from retort.serving.schemas.problems import not_found
from retort.serving.schemas.requests import Body
from retort.shared.base.errors import ProfileError
from retort.shared.profiles.profile_choices import (
    MAX_TEXT_CHARS,
    ProfileView,
    edit_profile,
    erase_profile,
    pin_profile,
    release_profile,
    view_profile,
)

UserId = Annotated[PathId, Path(description="user id")]


class Edit(Body):
    """A profile written by the user."""

    # At least one visible character, and no NUL, which PostgreSQL cannot store.
    text: str = Field(min_length=1, max_length=MAX_TEXT_CHARS, pattern=r"^[^\x00]*[^\s\x00-\x1f\x7f-\x9f][^\x00]*$")


class Written(BaseModel):
    """A profile text written by a model."""

    aspect: str
    text: str
    model: str
    prompt_version: str
    n_events: int | None = Field(description="events of the history from which it was written")
    grounding: float | None = Field(
        description="faithfulness: share of its claims that the history supports; null: unknown"
    )
    created_at: datetime


class ProfileDocument(BaseModel):
    """A user's profile. `choice` is edited, pinned or erased; null when models may write it."""

    request_id: str
    text: str | None = Field(description="profile in force")
    choice: str | None
    set_at: datetime | None
    versions: list[Written] = Field(description="newest first")


class ErasedDocument(BaseModel):
    """Number of deleted texts; no new ones will be written."""

    request_id: str
    deleted: int


def router(services: Services) -> APIRouter:
    """Create the `/users/{user_id}/profile` routes; they precede `/users/{user_id}`, whose ids may hold slashes."""
    routes = APIRouter(tags=["profiles"], responses=problems(400, 401, 403, 404, 408, 413, 422, 429, 503))
    _add_view(routes, services)
    _add_choices(routes, services)
    _add_removals(routes, services)
    return routes


def _add_view(routes: APIRouter, services: Services) -> None:
    @routes.get("/users/{user_id:path}/profile", summary="The profile in force and its versions")
    async def view(request: Request, caller: AdminCaller, user_id: UserId) -> ProfileDocument:
        return await _read_profile(services, request, caller, user_id)


def _add_choices(routes: APIRouter, services: Services) -> None:
    @routes.put("/users/{user_id:path}/profile", summary="Replace the profile by a text of the user")
    async def edit(request: Request, caller: AdminCaller, user_id: UserId, body: Edit) -> ProfileDocument:
        await query_database(
            services.settings.database,
            lambda engine: edit_profile(engine, user_id, body.text, set_by=caller.name, tenant=caller.tenant),
        )
        return await _read_profile(services, request, caller, user_id)

    @routes.post("/users/{user_id:path}/profile/pin", summary="Pin the profile in force")
    async def pin(request: Request, caller: AdminCaller, user_id: UserId) -> ProfileDocument:
        try:
            await query_database(
                services.settings.database,
                lambda engine: pin_profile(engine, user_id, set_by=caller.name, tenant=caller.tenant),
            )
        except ProfileError:
            raise not_found("This user has no profile to pin; write one with PUT.") from None
        return await _read_profile(services, request, caller, user_id)


def _add_removals(routes: APIRouter, services: Services) -> None:
    @routes.delete("/users/{user_id:path}/profile/choice", summary="Release an edit, a pin or an erasure")
    async def release(request: Request, caller: AdminCaller, user_id: UserId) -> ProfileDocument:
        await query_database(
            services.settings.database, lambda engine: release_profile(engine, user_id, tenant=caller.tenant)
        )
        return await _read_profile(services, request, caller, user_id)

    @routes.delete("/users/{user_id:path}/profile", summary="Delete all texts and forbid new ones")
    async def erase(request: Request, caller: AdminCaller, user_id: UserId) -> ErasedDocument:
        deleted = await query_database(
            services.settings.database,
            lambda engine: erase_profile(engine, user_id, set_by=caller.name, tenant=caller.tenant),
        )
        return ErasedDocument(request_id=request.state.request_id, deleted=deleted)


async def _read_profile(services: Services, request: Request, caller: Caller, user_id: str) -> ProfileDocument:
    view = await query_database(
        services.settings.database, lambda engine: view_profile(engine, user_id, tenant=caller.tenant)
    )
    return _document(request, view)


def _document(request: Request, view: ProfileView) -> ProfileDocument:
    return ProfileDocument(
        request_id=request.state.request_id,
        text=view.text,
        choice=view.choice.kind if view.choice else None,
        set_at=view.choice.set_at if view.choice else None,
        versions=[Written(**vars(version)) for version in view.versions],
    )
