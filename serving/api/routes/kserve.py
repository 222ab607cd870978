"""The KServe v2 inference protocol, for tooling that speaks it: health, metadata and inference over item ids.

https://github.com/kserve/open-inference-protocol, REST. A model is a bundle; its input `history` is a list of item ids
(BYTES, one row), with `k` as a parameter; its outputs are `item_ids` (BYTES) and `scores` (FP32).
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
    """One tensor's metadata."""

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
    def _one_row(self) -> Self:
        count = len(self.data)
        if self.shape not in ([count], [1, count]):
            raise ValueError(f"the shape of {count} items in one row is [{count}] or [1, {count}], not {self.shape}")
        return self


class InferParameters(BaseModel):
    """What else may be said."""

    model_config = ConfigDict(extra="forbid")
    k: int = Field(10, ge=1, le=MAX_K)


class InferRequest(BaseModel):
    """An inference request with the one input."""

    model_config = ConfigDict(extra="forbid")
    id: Annotated[str, Field(max_length=128)] | None = None
    inputs: list[InputTensor] = Field(min_length=1, max_length=1)
    parameters: InferParameters = InferParameters()


class OutputTensor(Tensor):
    """One tensor of the answer."""

    data: list[Any]


class InferAnswer(BaseModel):
    """The ranked items."""

    model_name: str
    model_version: str
    id: str | None
    outputs: list[OutputTensor]


class ModelMetadata(BaseModel):
    """What the protocol says of a model."""

    name: str
    versions: list[str]
    platform: str = "onnx_onnxv1"
    inputs: list[Tensor] = [Tensor(name="history", datatype="BYTES", shape=[-1])]
    outputs: list[Tensor] = [
        Tensor(name="item_ids", datatype="BYTES", shape=[-1]),
        Tensor(name="scores", datatype="FP32", shape=[-1]),
    ]


_ASKED = problems(400, 401, 403, 404, 413, 422, 429, 503)
ModelName = Annotated[str, Path(max_length=256)]


def router(services: Services) -> APIRouter:
    """All `/v2` routes."""
    routes = APIRouter(prefix="/v2", tags=["kserve v2"])
    _add_health(routes, services)
    _add_metadata(routes, services)
    _add_inference(routes, services)
    return routes


async def _live_of(services: Services, request: Request, name: str, version: str | None) -> tuple[LiveBundle, str]:
    """The bundle of that name that serves the caller's tenant now, and the tenant; 404 otherwise."""
    caller = await services.door.enter(dict(request.scope["headers"]), Scope.READ)
    for owner, _, slot in services.models.all():
        live = slot.current
        if owner == caller.tenant and live is not None and live.name == name and version in (None, live.version):
            return live, caller.tenant
    raise not_found("No such model serves; /models lists what does.")


def _add_health(routes: APIRouter, services: Services) -> None:
    @routes.get("/health/live", summary="Is the process alive?")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @routes.get("/health/ready", responses=problems(503), summary="Can it answer?")
    async def ready() -> dict[str, bool]:
        services.check_ready()
        return {"ready": True}


def _add_metadata(routes: APIRouter, services: Services) -> None:
    @routes.get("/models/{name}", responses=_ASKED, summary="What the model takes and gives")
    @routes.get("/models/{name}/versions/{version}", responses=_ASKED, summary="What this version takes and gives")
    async def metadata(request: Request, name: ModelName, version: str | None = None) -> ModelMetadata:
        live, _ = await _live_of(services, request, name, version)
        return ModelMetadata(name=live.name, versions=[live.version])

    @routes.get("/models/{name}/ready", responses=_ASKED, summary="Does the model serve?")
    @routes.get("/models/{name}/versions/{version}/ready", responses=_ASKED, summary="Does this version serve?")
    async def model_ready(request: Request, name: ModelName, version: str | None = None) -> dict[str, Any]:
        live, _ = await _live_of(services, request, name, version)
        return {"name": live.name, "ready": True}


def _add_inference(routes: APIRouter, services: Services) -> None:
    @routes.post("/models/{name}/infer", responses=_ASKED, summary="Rank items for a history")
    @routes.post(
        "/models/{name}/versions/{version}/infer",
        responses=_ASKED,
        summary="Rank items for a history with this version",
    )
    async def infer(request: Request, name: ModelName, body: InferRequest, version: str | None = None) -> InferAnswer:
        live, tenant = await _live_of(services, request, name, version)
        wanted = RecommendRequest(history=body.inputs[0].data, k=body.parameters.k)
        answer = await services.answering.answer_over(live, wanted, tenant, request.state.request_id)
        count = len(answer.item_ids)
        return InferAnswer(
            model_name=live.name,
            model_version=live.version,
            id=body.id,
            outputs=[
                OutputTensor(name="item_ids", datatype="BYTES", shape=[count], data=list(answer.item_ids)),
                OutputTensor(name="scores", datatype="FP32", shape=[count], data=list(answer.scores)),
            ],
        )
