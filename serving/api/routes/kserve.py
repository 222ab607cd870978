"""KServe v2 inference protocol (Open Inference Protocol): health, metadata and inference over item ids.

Source: https://github.com/kserve/open-inference-protocol, REST. A model is a bundle. Its input is `history`, a list of
item ids (BYTES, one row), with the parameter `k`; its outputs are `item_ids` (BYTES) and `scores` (FP32). Inputs may
use the extension for binary tensors, as Triton's clients do by default; outputs are JSON.
"""

import struct
from typing import Annotated, Any, Literal, Self

import orjson
from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from retort.serving.api.auth import Scope
from retort.serving.api.routes.documents import body_of, problems, reference
from retort.serving.api.services import Services
from retort.serving.models.bundles import LiveBundle
from retort.serving.schemas.problems import Problem, invalid, not_found
from retort.serving.schemas.requests import ALL_CANONICAL, MAX_HISTORY, NOT_BOOLEAN, IdAsSent, RecommendRequest
from retort.shared.base.schema import MAX_K


def _flat(data: Any) -> Any:
    """Flatten rows: the protocol allows the data of a tensor as one list or as a list of rows."""
    is_nested = isinstance(data, list) and data and all(isinstance(row, list) for row in data)
    return [value for row in data for value in row] if is_nested else data


# null is what some clients send for no parameters
_NULL_AS_EMPTY = BeforeValidator(lambda given: {} if given is None else given)
Parameters = Annotated[dict[str, Any], _NULL_AS_EMPTY]


class Tensor(BaseModel):
    """Metadata of a tensor."""

    name: str
    datatype: str
    shape: list[int]


class InputTensor(BaseModel):
    """The history, oldest first."""

    model_config = ConfigDict(extra="forbid")
    parameters: Parameters = {}
    name: Literal["history"]
    datatype: Literal["BYTES"]
    shape: list[Annotated[int, Field(ge=0, le=MAX_HISTORY), NOT_BOOLEAN]] = Field(min_length=1, max_length=2)
    data: Annotated[list[IdAsSent], BeforeValidator(_flat), Field(max_length=MAX_HISTORY), ALL_CANONICAL]

    @model_validator(mode="after")
    def _check_shape(self) -> Self:
        count = len(self.data)
        if self.shape not in ([count], [1, count]):
            raise ValueError(
                f"the shape of one row of {count} items must be [{count}] or [1, {count}], not {self.shape}"
            )
        return self


class InferParameters(BaseModel):
    """Parameters of an inference request. Those of other servers, which clients send, have no effect."""

    model_config = ConfigDict(extra="ignore")
    k: Annotated[int, Field(ge=1, le=MAX_K), NOT_BOOLEAN] = 10
    dry_run: bool = Field(False, description="true: record no exposure")


class RequestedOutput(BaseModel):
    """An output to return."""

    model_config = ConfigDict(extra="forbid")
    name: Literal["item_ids", "scores"]
    parameters: Parameters = {}


class InferRequest(BaseModel):
    """An inference request with the single input `history`."""

    model_config = ConfigDict(extra="forbid")
    id: Annotated[str, Field(max_length=128)] | None = None
    inputs: list[InputTensor] = Field(min_length=1, max_length=1)
    outputs: list[RequestedOutput] | None = Field(None, max_length=2, description="outputs to return; default: both")
    parameters: Annotated[InferParameters, _NULL_AS_EMPTY] = InferParameters()


class OutputTensor(Tensor):
    """An output tensor."""

    data: list[Any]


class InferAnswer(BaseModel):
    """The ranked items."""

    model_name: str
    model_version: str
    id: str | None
    outputs: list[OutputTensor]


class ServerMetadata(BaseModel):
    """Metadata of the server."""

    name: str = "retort"
    version: str = "1"
    extensions: list[str] = ["binary_tensor_data"]


class ModelMetadata(BaseModel):
    """Metadata of a model."""

    name: str
    versions: list[str]
    platform: str = "onnx_onnxv1"
    inputs: list[Tensor] = [Tensor(name="history", datatype="BYTES", shape=[-1])]
    outputs: list[Tensor] = [
        Tensor(name="item_ids", datatype="BYTES", shape=[-1]),
        Tensor(name="scores", datatype="FP32", shape=[-1]),
    ]


_PROBLEMS = problems(400, 401, 403, 404, 408, 413, 422, 429, 503)
ModelName = Annotated[str, Path(max_length=256)]


def router(services: Services) -> APIRouter:
    """Create the `/v2` routes."""
    routes = APIRouter(prefix="/v2", tags=["kserve v2"])
    _add_health(routes, services)
    _add_metadata(routes, services)
    _add_inference(routes, services)
    return routes


async def _live_of(services: Services, request: Request, name: str, version: str | None) -> tuple[LiveBundle, str]:
    """Authenticate and return the named bundle of the caller's tenant, and the tenant; a `Problem` 404 without one."""
    caller = await services.authenticator.authenticate_within_limits(dict(request.scope["headers"]), Scope.READ)
    for tenant, _, slot in services.models.all():
        live = slot.current
        if tenant == caller.tenant and live is not None and live.name == name and version in (None, live.version):
            return live, caller.tenant
    raise not_found("No such model is loaded; /models lists those that are.")


def _add_health(routes: APIRouter, services: Services) -> None:
    @routes.get("/health/live", summary="Liveness probe")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @routes.get("/health/ready", responses=problems(503), summary="Readiness probe")
    async def ready() -> dict[str, bool]:
        services.check_ready()
        return {"ready": True}


def _add_metadata(routes: APIRouter, services: Services) -> None:
    @routes.get("", summary="Name and version of the server")
    async def server() -> ServerMetadata:
        return ServerMetadata()

    async def metadata(request: Request, name: str, version: str | None) -> ModelMetadata:
        live, _ = await _live_of(services, request, name, version)
        return ModelMetadata(name=live.name, versions=[live.version])

    async def is_ready(request: Request, name: str, version: str | None) -> dict[str, Any]:
        live, _ = await _live_of(services, request, name, version)
        return {"name": live.name, "ready": True}

    @routes.get("/models/{name}", responses=_PROBLEMS, summary="Inputs and outputs of the model")
    async def model_metadata(request: Request, name: ModelName) -> ModelMetadata:
        return await metadata(request, name, None)

    @routes.get("/models/{name}/versions/{version}", responses=_PROBLEMS, summary="Inputs and outputs of this version")
    async def version_metadata(request: Request, name: ModelName, version: str) -> ModelMetadata:
        return await metadata(request, name, version)

    @routes.get("/models/{name}/ready", responses=_PROBLEMS, summary="Readiness of the model")
    async def model_ready(request: Request, name: ModelName) -> dict[str, Any]:
        return await is_ready(request, name, None)

    @routes.get("/models/{name}/versions/{version}/ready", responses=_PROBLEMS, summary="Readiness of this version")
    async def version_ready(request: Request, name: ModelName, version: str) -> dict[str, Any]:
        return await is_ready(request, name, version)


def _add_inference(routes: APIRouter, services: Services) -> None:
    described: dict[str, Any] = {"responses": _PROBLEMS, "openapi_extra": body_of(reference(InferRequest))}

    @routes.post("/models/{name}/infer", summary="Rank items for a history", **described)
    async def model_infer(request: Request, name: ModelName) -> InferAnswer:
        return await _infer(services, request, name, None)

    @routes.post(
        "/models/{name}/versions/{version}/infer", summary="Rank items for a history with this version", **described
    )
    async def version_infer(request: Request, name: ModelName, version: str) -> InferAnswer:
        return await _infer(services, request, name, version)


async def _infer(services: Services, request: Request, name: str, version: str | None) -> InferAnswer:
    live, tenant = await _live_of(services, request, name, version)
    body = parse_infer(await request.body(), request.headers.get("inference-header-content-length"))
    query = RecommendRequest(history=body.inputs[0].data, k=body.parameters.k, dry_run=body.parameters.dry_run)
    result = await services.recommendations.recommend_with_bundle(live, query, tenant, request.state.request_id)
    count = len(result.item_ids)
    outputs = [
        OutputTensor(name="item_ids", datatype="BYTES", shape=[count], data=list(result.item_ids)),
        OutputTensor(name="scores", datatype="FP32", shape=[count], data=list(result.scores)),
    ]
    requested: set[str] = {output.name for output in body.outputs or []}
    return InferAnswer(
        model_name=live.name,
        model_version=live.version,
        id=body.id,
        outputs=[output for output in outputs if not requested or output.name in requested],
    )


def parse_infer(body: bytes, head_length: str | None) -> InferRequest:
    """Parse an inference request.

    Args:
        head_length: Header `Inference-Header-Content-Length`: bytes of the JSON, which binary tensors follow.

    Raises:
        Problem: 422, which names the invalid field.
    """
    try:
        if head_length is None:
            return InferRequest.model_validate_json(body)
        return InferRequest.model_validate(_with_binary_data(body, head_length))
    except ValidationError as error:
        raise invalid(
            error.errors(include_url=False, include_input=False, include_context=False), InferRequest
        ) from None


def _with_binary_data(body: bytes, head_length: str) -> Any:
    """Return the JSON of a request whose tensors are in binary form, with their values in it."""
    if not head_length.isascii() or not head_length.isdigit() or int(head_length) > len(body):
        raise Problem(422, "Inference-Header-Content-Length: give the length of the JSON in the body, in bytes.")
    position = int(head_length)
    try:
        document = orjson.loads(body[:position])
        for tensor in document["inputs"]:
            size = tensor.get("parameters", {}).get("binary_data_size")
            if size is None:
                continue
            if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(body) - position:
                raise Problem(422, "inputs: binary_data_size is not the size of the data that follow the JSON.")
            tensor["data"] = _read_strings(body[position : position + size])
            position += size
    except (KeyError, TypeError, AttributeError, ValueError, struct.error):  # ValueError: no JSON, or no UTF-8
        raise Problem(422, "body: this is no inference request with binary tensors; send the JSON form.") from None
    if position != len(body):
        raise Problem(422, "body: bytes follow the last tensor; set binary_data_size of each input.")
    return document


def _read_strings(data: bytes) -> list[str]:
    """Read a BYTES tensor: before each element its length, 4 bytes, little endian."""
    strings, position = [], 0
    while position < len(data):
        (length,) = struct.unpack_from("<I", data, position)
        position += 4 + length
        if position > len(data):
            raise ValueError("the last element is cut off")
        strings.append(data[position - length : position].decode())
    return strings
