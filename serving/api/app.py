"""The application: parts, routes, error documents. `create_app` is all that an entry point needs."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from retort.serving.api.asgi import Front, Receive, Send
from retort.serving.api.asgi import Scope as AsgiScope
from retort.serving.api.routes import (
    batch,
    console,
    events,
    health,
    kserve,
    profiles,
    recommend,
    refreshes,
    similar,
    users,
)
from retort.serving.api.services import Services, build_services
from retort.serving.models.model_slots import Models, open_models
from retort.serving.runtime.graceful_shutdown import closing
from retort.serving.runtime.settings import ServingSettings
from retort.serving.schemas.problems import CONTENT_TYPE, Problem, failure, invalid
from retort.shared.base.settings import Settings
from retort.shared.history.store import HistoryStore

logger = logging.getLogger(__name__)

_ABOUT = """Recommendations from a small student that learnt what a language model knows.

Every answer says who gave it (`source`) and, where it is not the student over the whole history, why
(`fallback_reason`). Errors are `application/problem+json`."""


class Application(FastAPI):
    """FastAPI behind the front that answers the hot routes itself."""

    front: Front
    services: Services

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        await self.front(scope, receive, closing(send) if self.services.leaving.under_way else send)


def create_app(
    settings: Settings,
    serving: ServingSettings,
    *,
    models: Models | None = None,
    histories: HistoryStore | None = None,
) -> Application:
    """The application over these settings; `models` and `histories` where the caller has opened them already."""
    services = build_services(settings, serving, models or open_models(serving), histories)
    app = Application(title="Retort", version="1", description=_ABOUT, lifespan=_lifespan, redoc_url=None)
    app.services = services
    lane = {**recommend.handlers(services), **events.handlers(services)}
    app.include_router(recommend.router(lane))
    app.include_router(events.router(lane))
    for group in (batch, similar, profiles, refreshes, users, health, kserve):
        app.include_router(group.router(services))
    if serving.console:
        app.include_router(console.router())
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(Exception, _answer_failure)
    app.front = Front(
        super(Application, app).__call__,
        lane,
        services.metrics,
        max_waiting=serving.max_waiting,
        max_body_bytes=serving.max_body_bytes,
        guard=services.door.refuse_strangers,
    )
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    assert isinstance(app, Application)
    services = app.services
    services.leaving.take_over(asyncio.get_running_loop())
    services.metrics.faults.worker_starts.inc()
    for tenant, alias, slot in services.models.all():
        if slot.current is not None:
            services.metrics.model.labels(tenant, alias, slot.current.name, slot.current.version).set(1)
    background = [asyncio.create_task(services.people.run()), asyncio.create_task(services.exposures.run())]
    if services.follower.followed():
        background.append(asyncio.create_task(services.follower.run()))
    try:
        yield
    finally:
        for task in background:
            task.cancel()
        await asyncio.wait(background)
        await services.answering.finish()
        services.follower.close()
        services.people.close()
        await services.histories.close()


def _document(request: Request, problem: Problem) -> Response:
    request_id = request.scope.get("state", {}).get("request_id", "")
    return Response(problem.body(request_id), problem.status, problem.headers, CONTENT_TYPE)


async def _answer_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _document(request, error)


async def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _document(request, invalid(list(error.errors())))


async def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _document(request, Problem(error.status_code, str(error.detail), headers=error.headers))


async def _answer_failure(request: Request, error: Exception) -> Response:
    request_id = request.scope.get("state", {}).get("request_id", "")
    logger.error("request failed", exc_info=error, extra={"request_id": request_id})
    return _document(request, failure())
