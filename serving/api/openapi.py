"""OpenAPI document: operation ids, shared schemas and security schemes, so that clients can be generated from it."""

from typing import Any

from fastapi.routing import APIRoute
from pydantic.json_schema import models_json_schema

from retort.serving.api.asgi import DATA_PATHS
from retort.serving.api.routes.documents import REF_TEMPLATE, ProblemDocument
from retort.serving.api.routes.kserve import InferRequest
from retort.serving.schemas.requests import Event, RecommendRequest

_METHODS = ("get", "post", "put", "delete", "patch")
# Names of the methods of a generated client. They do not change, and are unique.
_OPERATION_IDS = {
    "POST /recommend": "recommend",
    "GET /recommend": "recommend_by_query",
    "POST /recommend/batch": "recommend_batch",
    "GET /similar/{item_id}": "similar_items",
    "POST /events": "send_events",
    "GET /items": "search_items",
    "GET /items/{item_id}": "read_item",
    "GET /facets": "list_facets",
    "GET /map": "read_map",
    "GET /map/colours": "read_map_colours",
    "GET /map/items": "read_map_items",
    "GET /map/users": "read_map_users",
    "GET /users": "list_users",
    "POST /items": "add_items",
    "GET /items/{item_id}/knowledge": "read_item_knowledge",
    "PUT /items/{item_id}/knowledge": "correct_item_knowledge",
    "DELETE /items/{item_id}/knowledge": "forbid_item_knowledge",
    "DELETE /items/{item_id}/knowledge/correction": "release_item_knowledge",
    "GET /users/{user_id}": "read_user",
    "DELETE /users/{user_id}": "erase_user",
    "GET /users/{user_id}/erasure": "read_erasure",
    "GET /users/{user_id}/history": "read_history",
    "POST /users/{user_id}/merge": "merge_guest",
    "GET /users/{user_id}/profile": "read_profile",
    "PUT /users/{user_id}/profile": "edit_profile",
    "DELETE /users/{user_id}/profile": "erase_profile",
    "POST /users/{user_id}/profile/pin": "pin_profile",
    "DELETE /users/{user_id}/profile/choice": "release_profile",
    "GET /refreshes": "list_refreshes",
    "POST /refreshes": "request_refresh",
    "GET /refreshes/{refresh_id}": "read_refresh",
    "POST /refreshes/{refresh_id}/cancel": "cancel_refresh",
    "GET /models": "list_models",
    "GET /experiments": "read_experiment",
    "GET /experiments/offline": "list_offline_experiments",
    "GET /models/versions": "list_versions",
    "GET /models/comparison": "compare_version",
    "POST /models/aliases/{alias}/promotion": "promote_version",
    "POST /models/aliases/{alias}/rollback": "roll_back_alias",
    "GET /health/live": "read_liveness",
    "GET /health/ready": "read_readiness",
    "GET /metrics": "read_metrics",
    "GET /v2": "kserve_server_metadata",
    "GET /v2/health/live": "kserve_server_live",
    "GET /v2/health/ready": "kserve_server_ready",
    "GET /v2/models/{name}": "kserve_model_metadata",
    "GET /v2/models/{name}/versions/{version}": "kserve_version_metadata",
    "GET /v2/models/{name}/ready": "kserve_model_ready",
    "GET /v2/models/{name}/versions/{version}/ready": "kserve_version_ready",
    "POST /v2/models/{name}/infer": "kserve_model_infer",
    "POST /v2/models/{name}/versions/{version}/infer": "kserve_version_infer",
}
# The fast path checks the key itself; these schemes only describe it.
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "API key in `Authorization: Bearer KEY`"},
    "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "API key"},
}


def operation_id(route: APIRoute) -> str:
    """Return the operation id of a route; pages outside the document have their function's name."""
    name = f"{next(iter(route.methods or ['']))} {route.path_format}"
    return _OPERATION_IDS[name] if route.include_in_schema else route.name


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Add the schemas to which routes refer, and the security of each operation."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    _, definitions = models_json_schema(
        [(model, "validation") for model in (RecommendRequest, Event, InferRequest, ProblemDocument)],
        ref_template=REF_TEMPLATE,
    )
    for name, schema in definitions["$defs"].items():
        schemas.setdefault(name, schema)
    components["securitySchemes"] = _SCHEMES
    for path, operations in document["paths"].items():
        if path.startswith(DATA_PATHS):
            for method in _METHODS:
                if method in operations:
                    operations[method]["security"] = [{name: []} for name in _SCHEMES]
    return document
