"""What people may do with their own profile: see it, write it themselves, pin it, have it erased, take that back.

A choice stands above every refresh. The student that answers now was taught before; the next training obeys.
"""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from retort.serving.api.admin_database import ask_database
from retort.serving.api.auth import Caller
from retort.serving.api.id_paths import PathId
from retort.serving.api.routes.admin import Admin
from retort.serving.api.routes.documents import problems
from retort.serving.api.services import Services
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

UserId = Annotated[PathId, Path(description="the user's id")]


class Edit(Body):
    """The person's own words."""

    # something to be read, and nothing that PostgreSQL cannot hold
    text: str = Field(min_length=1, max_length=MAX_TEXT_CHARS, pattern=r"^[^\x00]*[^\s\x00-\x1f][^\x00]*$")


class Written(BaseModel):
    """One text that a model wrote."""

    aspect: str
    text: str
    model: str
    prompt_version: str
    n_events: int | None = Field(description="events of the history that it was written from")
    grounding: float | None = Field(description="share of its claims that the history carries; null: unknown")
    created_at: datetime


class ProfileDocument(BaseModel):
    """What is kept of a user's profile. `choice`: edited, pinned or erased; null where models may write."""

    request_id: str
    text: str | None = Field(description="what is in force")
    choice: str | None
    set_at: datetime | None
    versions: list[Written] = Field(description="newest first")


class ErasedDocument(BaseModel):
    """How many texts were deleted; none will be written."""

    request_id: str
    deleted: int


def router(services: Services) -> APIRouter:
    """All `/users/{user_id}/profile` routes; they come before `/users/{user_id}`, whose ids may hold slashes."""
    routes = APIRouter(tags=["profiles"], responses=problems(400, 401, 403, 404, 413, 422, 429, 503))
    _add_view(routes, services)
    _add_choices(routes, services)
    _add_ends(routes, services)
    return routes


def _add_view(routes: APIRouter, services: Services) -> None:
    @routes.get("/users/{user_id:path}/profile", summary="The profile in force and its versions")
    async def view(request: Request, caller: Admin, user_id: UserId) -> ProfileDocument:
        return await _shown(services, request, caller, user_id)


def _add_choices(routes: APIRouter, services: Services) -> None:
    @routes.put("/users/{user_id:path}/profile", summary="Put the person's own words in its place")
    async def edit(request: Request, caller: Admin, user_id: UserId, given: Edit) -> ProfileDocument:
        await ask_database(
            services.settings.database,
            lambda engine: edit_profile(engine, user_id, given.text, set_by=caller.name, tenant=caller.tenant),
        )
        return await _shown(services, request, caller, user_id)

    @routes.post("/users/{user_id:path}/profile/pin", summary="Keep the text in force")
    async def pin(request: Request, caller: Admin, user_id: UserId) -> ProfileDocument:
        try:
            await ask_database(
                services.settings.database,
                lambda engine: pin_profile(engine, user_id, set_by=caller.name, tenant=caller.tenant),
            )
        except ProfileError:
            raise not_found("This user has no profile to pin; write one with PUT.") from None
        return await _shown(services, request, caller, user_id)


def _add_ends(routes: APIRouter, services: Services) -> None:
    @routes.delete("/users/{user_id:path}/profile/choice", summary="Take an edit, a pin or an erasure back")
    async def release(request: Request, caller: Admin, user_id: UserId) -> ProfileDocument:
        await ask_database(
            services.settings.database, lambda engine: release_profile(engine, user_id, tenant=caller.tenant)
        )
        return await _shown(services, request, caller, user_id)

    @routes.delete("/users/{user_id:path}/profile", summary="Delete every text, and let none be written again")
    async def erase(request: Request, caller: Admin, user_id: UserId) -> ErasedDocument:
        deleted = await ask_database(
            services.settings.database,
            lambda engine: erase_profile(engine, user_id, set_by=caller.name, tenant=caller.tenant),
        )
        return ErasedDocument(request_id=request.state.request_id, deleted=deleted)


async def _shown(services: Services, request: Request, caller: Caller, user_id: str) -> ProfileDocument:
    view = await ask_database(
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
