"""FastAPI application of serving: routes, lifespan and error responses."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from retort.serving.api.asgi import FastPathMiddleware, Handler, Send
from retort.serving.api.asgi import Scope as AsgiScope
from retort.serving.api.body_reader import Receive
from retort.serving.api.openapi import complete, operation_id
from retort.serving.api.routes import (
    batch,
    console,
    events,
    experiments,
    health,
    item_map,
    items,
    knowledge,
    kserve,
    new_items,
    profiles,
    recommend,
    refreshes,
    similar,
    users,
    versions,
)
from retort.serving.api.services import Services, build_services
from retort.serving.models.model_slots import ModelSlots, open_model_slots
from retort.serving.recommend.history_connections import open_connections
from retort.serving.runtime.graceful_shutdown import close_connections
from retort.serving.runtime.settings import ServingSettings
from retort.serving.schemas.problems import CONTENT_TYPE, Problem, failure, for_path, invalid
from retort.shared.base.settings import Settings
from retort.shared.history.store import HistoryStore

logger = logging.getLogger(__name__)

_DESCRIPTION = """Recommendations from a small student model that was distilled from a language model.

Every response names the origin of its list (`source`) and, unless it is the student over the full history, the reason
(`fallback_reason`). Errors are `application/problem+json`."""

# Each module has a `router`.
_GROUPS = (
    batch,
    similar,
    new_items,
    knowledge,
    items,
    item_map,
    profiles,
    refreshes,
    users,
    health,
    versions,
    experiments,
    kserve,
)


class Application(FastAPI):
    """FastAPI application behind the fast-path middleware."""

    fast_path: FastPathMiddleware
    services: Services

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        if self.openapi_schema is None:
            self.openapi_schema = complete(super().openapi())
        return self.openapi_schema

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        await self.fast_path(scope, receive, close_connections(send) if self.services.shutdown.in_progress else send)


def create_app(
    settings: Settings,
    serving: ServingSettings,
    *,
    models: ModelSlots | None = None,
    histories: HistoryStore | None = None,
) -> Application:
    """Create the application.

    Args:
        models: Open model slots; default: opened from the settings.
        histories: Open history store; default: opened from the settings.
    """
    services = build_services(settings, serving, models or open_model_slots(serving), histories)
    app = Application(
        title="Retort",
        version="1",
        description=_DESCRIPTION,
        lifespan=_lifespan,
        docs_url=None,  # the framework's pages load scripts from another host
        redoc_url=None,
        redirect_slashes=False,  # the framework would redirect to whatever host the request names
        generate_unique_id_function=operation_id,
    )
    app.services = services
    fast_routes = {**recommend.fast_handlers(services), **events.fast_handlers(services)}
    _include_routes(app, fast_routes, has_console=serving.console)
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_failure)
    app.fast_path = FastPathMiddleware(
        super(Application, app).__call__,
        fast_routes,
        services.metrics,
        max_waiting=serving.max_waiting,
        max_body_bytes=serving.max_body_bytes,
        read_timeout_s=serving.read_timeout_s,
        check_key=services.authenticator.require_valid_key,
    )
    return app


def _include_routes(app: Application, fast_routes: dict[tuple[str, str], Handler], *, has_console: bool) -> None:
    app.include_router(recommend.router(fast_routes))
    app.include_router(events.router(fast_routes))
    for group in _GROUPS:
        app.include_router(group.router(app.services))
    app.include_router(console.docs_router("console" if has_console else "docs"))
    if has_console:
        app.include_router(console.router())


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    assert isinstance(app, Application)
    services = app.services
    services.shutdown.install(asyncio.get_running_loop())
    services.metrics.worker_starts.inc()
    await open_connections(services.histories)
    for tenant, alias, slot in services.models.all():
        if slot.current is not None:
            services.metrics.model.labels(tenant, alias, slot.current.name, slot.current.version).set(1)
    runs = (services.user_data.run, services.exposures.run, services.corrections.run)
    tasks = [asyncio.create_task(run()) for run in runs]
    if services.registry_watcher.watched_slots():
        tasks.append(asyncio.create_task(services.registry_watcher.run()))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await services.recommendations.finish()
        services.registry_watcher.close()
        services.corrections.close()
        services.user_data.close()
        await services.histories.close()


def _problem_response(request: Request, problem: Problem) -> Response:
    request_id = request.scope.get("state", {}).get("request_id", "")
    body = for_path(problem, request.url.path).body(request_id)
    return Response(body, problem.status, problem.headers, CONTENT_TYPE)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _problem_response(request, error)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    body = getattr(request.scope.get("route"), "body_field", None)
    model = None if body is None else body.field_info.annotation
    return _problem_response(request, invalid(list(error.errors()), model))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _problem_response(request, Problem(error.status_code, str(error.detail), headers=error.headers))


async def _on_failure(request: Request, error: Exception) -> Response:
    request_id = request.scope.get("state", {}).get("request_id", "")
    logger.error("request failed", exc_info=error, extra={"request_id": request_id})
    return _problem_response(request, failure())
