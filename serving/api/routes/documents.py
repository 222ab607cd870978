"""OpenAPI fragments: problem responses, and schemas for routes that parse their bodies themselves."""

from typing import Any

from pydantic import BaseModel, Field

from retort.serving.schemas.problems import CONTENT_TYPE

_DESCRIPTIONS = {
    400: "Malformed request.",
    401: "A valid API key is required.",
    403: "The key lacks the scope.",
    404: "Not found.",
    409: "Conflict with the present state; `detail` describes it.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    422: "Invalid request; `detail` names the field.",
    429: "Rate limit or quota exceeded; retry after `Retry-After` seconds.",
    503: "Overloaded, or a store is down; retry after `Retry-After` seconds.",
}


class ProblemDocument(BaseModel):
    """Problem document (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[dict[str, str]] | None = Field(None, description="with 422: location and message of each error")


REF_TEMPLATE = "#/components/schemas/{model}"


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI `responses` of these statuses."""
    return {
        status: {
            "description": _DESCRIPTIONS[status],
            "content": {CONTENT_TYPE: {"schema": reference(ProblemDocument)}},
        }
        for status in statuses
    }


def reference(model: type[BaseModel]) -> dict[str, Any]:
    """Return a reference to a model that `api.openapi` adds to the document."""
    return {"$ref": REF_TEMPLATE.format(model=model.__name__)}


def body_of(schema: dict[str, Any], example: Any = None) -> dict[str, Any]:
    """Return the OpenAPI description of a JSON request body."""
    content = {"schema": schema} if example is None else {"schema": schema, "example": example}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def parameters_of(model: type[BaseModel], names: tuple[str, ...]) -> dict[str, Any]:
    """Return the OpenAPI query parameters for some fields of a model; a list repeats its parameter."""
    properties = model.model_json_schema()["properties"]
    parameters = []
    for name in names:
        schema = dict(properties[name])
        # A query string has no null: an optional parameter is left out.
        not_null = [option for option in schema.pop("anyOf", []) if option.get("type") != "null"]
        schema = {**schema, **not_null[0]} if not_null else schema
        description = schema.pop("description", "")
        schema.pop("title", None)
        schema.pop("default", None) if schema.get("default") is None else None
        parameters.append(
            {"name": name, "in": "query", "required": False, "description": description, "schema": schema}
        )
    return {"parameters": parameters}
