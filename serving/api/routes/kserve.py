"""KServe v2 inference protocol (Open Inference Protocol): health, metadata and inference over item ids.

Source: https://github.com/kserve/open-inference-protocol, REST. A model is a bundle. Its input is `history`, a list of
item ids (BYTES, one row), with the parameter `k`; its outputs are `item_ids` (BYTES) and `scores` (FP32).
"""

from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from retort.serving.api.auth import Scope
from retort.serving.api.routes.documents import problems
from retort.serving.api.services import Services
from retort.serving.models.bundles import LiveBundle
from retort.serving.schemas.problems import not_found
from retort.serving.schemas.requests import MAX_HISTORY, Id, RecommendRequest
from retort.shared.base.schema import MAX_K


class Tensor(BaseModel):
    """Metadata of a tensor."""

    name: str
    datatype: str
    shape: list[int]


class InputTensor(BaseModel):
    """The history, oldest first."""

    model_config = ConfigDict(extra="forbid")
    name: Literal["history"]
    datatype: Literal["BYTES"]
    shape: list[Annotated[int, Field(ge=0, le=MAX_HISTORY)]] = Field(min_length=1, max_length=2)
    data: list[Id] = Field(max_length=MAX_HISTORY)

    @model_validator(mode="after")
    def _check_shape(self) -> Self:
        count = len(self.data)
        if self.shape not in ([count], [1, count]):
            raise ValueError(
                f"the shape of one row of {count} items must be [{count}] or [1, {count}], not {self.shape}"
            )
        return self


class InferParameters(BaseModel):
    """Parameters of an inference request."""

    model_config = ConfigDict(extra="forbid")
    k: int = Field(10, ge=1, le=MAX_K)


class InferRequest(BaseModel):
    """An inference request with the single input `history`."""

    model_config = ConfigDict(extra="forbid")
    id: Annotated[str, Field(max_length=128)] | None = None
    inputs: list[InputTensor] = Field(min_length=1, max_length=1)
    parameters: InferParameters = InferParameters()


class OutputTensor(Tensor):
    """An output tensor."""

    data: list[Any]


class InferAnswer(BaseModel):
    """The ranked items."""

    model_name: str
    model_version: str
    id: str | None
    outputs: list[OutputTensor]


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


_PROBLEMS = problems(400, 401, 403, 404, 413, 422, 429, 503)
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
    @routes.get("/models/{name}", responses=_PROBLEMS, summary="Inputs and outputs of the model")
    @routes.get("/models/{name}/versions/{version}", responses=_PROBLEMS, summary="Inputs and outputs of this version")
    async def metadata(request: Request, name: ModelName, version: str | None = None) -> ModelMetadata:
        live, _ = await _live_of(services, request, name, version)
        return ModelMetadata(name=live.name, versions=[live.version])

    @routes.get("/models/{name}/ready", responses=_PROBLEMS, summary="Readiness of the model")
    @routes.get("/models/{name}/versions/{version}/ready", responses=_PROBLEMS, summary="Readiness of this version")
    async def model_ready(request: Request, name: ModelName, version: str | None = None) -> dict[str, Any]:
        live, _ = await _live_of(services, request, name, version)
        return {"name": live.name, "ready": True}


def _add_inference(routes: APIRouter, services: Services) -> None:
    @routes.post("/models/{name}/infer", responses=_PROBLEMS, summary="Rank items for a history")
    @routes.post(
        "/models/{name}/versions/{version}/infer",
        responses=_PROBLEMS,
        summary="Rank items for a history with this version",
    )
    async def infer(request: Request, name: ModelName, body: InferRequest, version: str | None = None) -> InferAnswer:
        live, tenant = await _live_of(services, request, name, version)
        query = RecommendRequest(history=body.inputs[0].data, k=body.parameters.k)
        result = await services.recommendations.recommend_with_bundle(live, query, tenant, request.state.request_id)
        count = len(result.item_ids)
        return InferAnswer(
            model_name=live.name,
            model_version=live.version,
            id=body.id,
            outputs=[
                OutputTensor(name="item_ids", datatype="BYTES", shape=[count], data=list(result.item_ids)),
                OutputTensor(name="scores", datatype="FP32", shape=[count], data=list(result.scores)),
            ],
        )
