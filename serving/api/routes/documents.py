"""OpenAPI pieces for routes that read their bytes themselves."""

from typing import Any

from pydantic import BaseModel, Field, TypeAdapter

from retort.serving.schemas.problems import CONTENT_TYPE

_WHY = {
    400: "The request is not HTTP as it should be.",
    401: "A key is needed.",
    403: "The key lacks the scope.",
    404: "Not here.",
    409: "Not now: something else is in the way; `detail` says what.",
    413: "The body is too large.",
    422: "The request is wrong; `detail` says where.",
    429: "Too many requests; `Retry-After` says when to come back.",
    503: "At the limit or without its store; `Retry-After` says when to come back.",
}


class ProblemDocument(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[dict[str, str]] | None = Field(None, description="with 422: where and why")


_PROBLEM_SCHEMA = TypeAdapter(ProblemDocument).json_schema()


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` entries of these problems."""
    return {
        status: {"description": _WHY[status], "content": {CONTENT_TYPE: {"schema": _PROBLEM_SCHEMA}}}
        for status in statuses
    }


def body_of(model: type[BaseModel] | TypeAdapter[Any]) -> dict[str, Any]:
    """A JSON request body."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": _schema(model)}}}}


def parameters_of(model: type[BaseModel], names: tuple[str, ...]) -> dict[str, Any]:
    """Query parameters from some fields of a model; lists repeat their parameter."""
    properties = _schema(model)["properties"]
    parameters = []
    for name in names:
        schema = dict(properties[name])
        # An absent parameter is absent, there is no null in a query string.
        some = [option for option in schema.pop("anyOf", []) if option.get("type") != "null"]
        schema = {**schema, **some[0]} if some else schema
        description = schema.pop("description", "")
        schema.pop("title", None)
        schema.pop("default", None) if schema.get("default") is None else None
        parameters.append(
            {"name": name, "in": "query", "required": False, "description": description, "schema": schema}
        )
    return {"parameters": parameters}


def _schema(model: type[BaseModel] | TypeAdapter[Any]) -> dict[str, Any]:
    adapter = model if isinstance(model, TypeAdapter) else TypeAdapter(model)
    return _inlined(adapter.json_schema())


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without $defs: OpenAPI resolves references from its own root."""
    definitions = schema.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolve(definitions[node["$ref"].rpartition("/")[2]])
            return {key: resolve(value) for key, value in node.items()}
        return [resolve(one) for one in node] if isinstance(node, list) else node

    resolved: dict[str, Any] = resolve(schema)
    return resolved
