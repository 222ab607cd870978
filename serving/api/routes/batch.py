"""`POST /recommend/batch`: JSON lines in, JSON lines out, the same answers as one by one."""

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
# So many at once: a batch fills the student's batches and still leaves room for single callers.
_TOGETHER = 32


def router(services: Services) -> APIRouter:
    """One route."""
    routes = APIRouter(tags=["recommend"])
    line_schema = {"schema": {"type": "string"}, "example": '{"user_id": "u1"}\n{"user_id": "u2", "k": 5}\n'}

    @routes.post(
        "/recommend/batch",
        summary="Many requests, one a line; answers in the same order",
        description="Each line is a `RecommendRequest`. A line that is wrong is answered by a problem document. "
        "Each line counts against the key's limits; a batch of more lines than they leave is refused whole, with "
        "`Retry-After`.",
        response_class=StreamingResponse,
        responses={200: {"content": {JSON_LINES: {}}}, **problems(401, 403, 413, 422, 429, 503)},
        openapi_extra={"requestBody": {"required": True, "content": {JSON_LINES: line_schema}}},
    )
    async def batch(request: Request) -> StreamingResponse:
        headers = dict(request.scope["headers"])
        services.door.admit(headers, Scope.READ)  # before the body is read
        lines = [line for line in (await request.body()).split(b"\n") if line.strip()]
        is_answered = 1 <= len(lines) <= services.serving.max_lines
        caller = await services.door.enter(headers, Scope.READ, len(lines) if is_answered else 1)
        if not is_answered:
            raise Problem(422, f"body: write between 1 and {services.serving.max_lines} lines.")
        answers = _answers(services, lines, caller.tenant, request.state.request_id)
        return StreamingResponse(answers, media_type=JSON_LINES)

    return routes


async def _answers(services: Services, lines: list[bytes], tenant: str, request_id: str) -> AsyncIterator[bytes]:
    for start in range(0, len(lines), _TOGETHER):
        together = [
            _line(services, line, tenant, f"{request_id}-{start + place}")
            for place, line in enumerate(lines[start : start + _TOGETHER])
        ]
        yield b"".join(await asyncio.gather(*together))


async def _line(services: Services, line: bytes, tenant: str, request_id: str) -> bytes:
    try:
        request: RecommendRequest = parse_recommend(line)
        answer = await services.answering.answer(
            request, tenant, request_id, deadline_s=services.serving.batch_deadline_s
        )
    except Problem as problem:
        return problem.body(request_id) + b"\n"
    except Exception:  # the status is sent already: the others' answers must not be cut off
        logger.exception("a line failed", extra={"request_id": request_id})
        return failure().body(request_id) + b"\n"
    return orjson.dumps(answer.document(request_id), default=str) + b"\n"
