"""Route `POST /recommend/batch`: many requests as JSON lines."""

import asyncio
import logging
from collections.abc import AsyncIterator

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from retort.serving.api.auth import Scope
from retort.serving.api.routes.documents import problems
from retort.serving.api.services import Services
from retort.serving.schemas.problems import Problem, failure
from retort.serving.schemas.requests import RecommendRequest, parse_recommend

logger = logging.getLogger(__name__)

JSON_LINES = "application/x-ndjson"
# Lines processed at once: enough to fill the student's batches without blocking single requests.
_CONCURRENT_LINES = 32


def router(services: Services) -> APIRouter:
    """Create the route."""
    routes = APIRouter(tags=["recommend"])
    line_schema = {"schema": {"type": "string"}, "example": '{"user_id": "u1"}\n{"user_id": "u2", "k": 5}\n'}

    @routes.post(
        "/recommend/batch",
        summary="Recommend for many requests, one a line, in the same order",
        description="Each line is a `RecommendRequest`. The response to an invalid line is a problem document. Each "
        "line counts against the key's limits; a batch that exceeds them is refused as a whole, with `Retry-After`.",
        response_class=StreamingResponse,
        responses={200: {"content": {JSON_LINES: {}}}, **problems(401, 403, 408, 413, 422, 429, 503)},
        openapi_extra={"requestBody": {"required": True, "content": {JSON_LINES: line_schema}}},
    )
    async def batch(request: Request) -> StreamingResponse:
        headers = dict(request.scope["headers"])
        services.authenticator.require_scope(headers, Scope.READ)  # before the body is read
        lines = [line for line in (await request.body()).split(b"\n") if line.strip()]
        is_accepted = 1 <= len(lines) <= services.serving.max_lines
        caller = await services.authenticator.authenticate_within_limits(
            headers, Scope.READ, len(lines) if is_accepted else 1
        )
        if not is_accepted:
            raise Problem(422, f"body: send between 1 and {services.serving.max_lines} lines.")
        responses = _responses(services, lines, caller.tenant, request.state.request_id)
        return StreamingResponse(responses, media_type=JSON_LINES)

    return routes


async def _responses(services: Services, lines: list[bytes], tenant: str, request_id: str) -> AsyncIterator[bytes]:
    for start in range(0, len(lines), _CONCURRENT_LINES):
        tasks = [
            _line_response(services, line, tenant, f"{request_id}-{start + index}")
            for index, line in enumerate(lines[start : start + _CONCURRENT_LINES])
        ]
        yield b"".join(await asyncio.gather(*tasks))


async def _line_response(services: Services, line: bytes, tenant: str, request_id: str) -> bytes:
    try:
        request: RecommendRequest = parse_recommend(line)
        result = await services.recommendations.recommend(
            request, tenant, request_id, deadline_s=services.serving.batch_deadline_s
        )
    except Problem as problem:
        return problem.body(request_id) + b"\n"
    except Exception:  # the status is sent already, and the other lines must be answered
        logger.exception("a line failed", extra={"request_id": request_id})
        return failure().body(request_id) + b"\n"
    return orjson.dumps(result.document(request_id), default=str) + b"\n"
