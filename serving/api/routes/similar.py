"""Route `GET /similar/{item_id}`: items similar to an item by the student's item vectors."""

import time
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from retort.serving.api.auth import Scope
from retort.serving.api.routes.documents import problems
from retort.serving.api.services import Services
from retort.serving.recommend import fallback
from retort.serving.recommend.query_plan import build_query_plan
from retort.serving.schemas.problems import not_found
from retort.serving.schemas.requests import Id, RecommendRequest
from retort.serving.schemas.responses import Reason, RecommendAnswer, Recommendation, Source
from retort.shared.base.schema import MAX_K


def router(services: Services) -> APIRouter:
    """Create the route."""
    routes = APIRouter(tags=["recommend"])

    @routes.get(
        "/similar/{item_id:path}",
        summary="Items similar to this one",
        responses={200: {"model": RecommendAnswer}, **problems(401, 403, 404, 422, 429, 503)},
        response_class=Response,
    )
    async def similar(
        request: Request,
        item_id: Annotated[Id, Path()],
        k: Annotated[int, Query(ge=1, le=MAX_K)] = 10,
        exclude: Annotated[list[Id] | None, Query(), Field(max_length=1000)] = None,
        fields: Annotated[list[str] | None, Query(), Field(max_length=50)] = None,
        dry_run: Annotated[bool, Query(description="true: record no exposure")] = False,
    ) -> Response:
        caller = await services.authenticator.authenticate_within_limits(dict(request.scope["headers"]), Scope.READ)
        services.recommendations.check_k(k)
        started = time.perf_counter()
        live = services.live_bundle(caller.tenant)
        catalogue = live.catalogue
        anchor = catalogue.index.index(item_id)
        if anchor is None:
            raise not_found("The bundle has no such item.")
        query = _request(item_id, k, exclude or [], fields or [], dry_run)
        anchors = np.array([anchor], dtype=np.int64)
        plan = build_query_plan(query, catalogue, anchors)
        source = Source.SIMILAR
        reason: Reason | None = None
        if catalogue.unit_vectors is None:
            items, scores = fallback.popular(catalogue, plan.hidden, k)
            source, reason = Source.POPULAR, Reason.NO_VECTORS
        else:
            items, scores = fallback.similar(catalogue.unit_vectors, anchors, plan.hidden, k)
            reason = None if len(items) == k else Reason.NOT_ENOUGH_ITEMS
        result = Recommendation(
            [catalogue.ids[item] for item in items.tolist()],
            scores.tolist(),
            source,
            reason,
            live.document,
            fields=[catalogue.fields(item, fields) for item in items.tolist()] if fields else None,
        )
        request_id = request.state.request_id
        services.recommendations.record_shown(query, caller.tenant, request_id, result, time.perf_counter() - started)
        return Response(result.body(request_id), media_type="application/json")

    return routes


def _request(item_id: str, k: int, exclude: list[str], fields: list[str], dry_run: bool) -> RecommendRequest:
    values: dict[str, Any] = {"history": [item_id], "k": k, "exclude": exclude, "dry_run": dry_run}
    if fields:
        values["fields"] = fields
    return RecommendRequest.model_construct(_fields_set=set(values), **values)
