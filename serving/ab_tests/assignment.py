"""Experiments: who sees which variant, decided by a hash, so that it never has to be stored.

    {"name": "autumn", "holdout": 0.05,
     "variants": [{"name": "control", "share": 0.5},
                  {"name": "diverse", "share": 0.3, "defaults": {"diversity": 0.3}},
                  {"name": "new", "share": 0.2, "alias": "challenger"}],
     "shadow": {"alias": "challenger", "share": 0.1}}

Shares divide those who are not held out. The same user is in the same place as long as the experiment keeps its name
and its shares.
"""

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from retort.serving.schemas.requests import RecommendRequest
from retort.shared.base.errors import RetortError

HOLDOUT = "holdout"
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
# What a variant may set where the request does not.
Tunable = Literal["diversity", "boost", "bury", "caps", "filter", "strict_filter"]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Variant(_Document):
    """One way to answer."""

    name: Name
    share: float = Field(gt=0, le=1)
    alias: Name | None = Field(None, description="the registry's alias that answers; unset: the server's own")
    defaults: dict[Tunable, Any] = {}


class Shadow(_Document):
    """A bundle that answers in the background and is only compared."""

    alias: Name
    share: float = Field(1.0, gt=0, le=1)


class Experiment(_Document):
    """A whole experiment; its name is the salt of the hash."""

    name: Name
    tenant: Name = "default"
    holdout: float = Field(0.0, ge=0, lt=1)
    variants: tuple[Variant, ...] = ()
    shadow: Shadow | None = None

    @property
    def labels(self) -> frozenset[str]:
        """Every variant's name, and the holdout's."""
        return frozenset(variant.name for variant in self.variants) | {HOLDOUT}

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        names = [variant.name for variant in self.variants]
        if len(set(names)) != len(names) or HOLDOUT in names:
            raise ValueError("variants need names of their own, other than 'holdout'")
        if self.variants and abs(sum(variant.share for variant in self.variants) - 1) > 1e-6:
            raise ValueError("the variants' shares must add up to 1")
        for variant in self.variants:
            RecommendRequest.model_validate({"history": [], **variant.defaults})
        return self


@dataclass(frozen=True, slots=True)
class Assignment:
    """Where a caller belongs; `variant` None is the holdout."""

    experiment: str
    variant: Variant | None

    @property
    def label(self) -> str:
        return HOLDOUT if self.variant is None else self.variant.name

    @property
    def document(self) -> dict[str, str]:
        return {"name": self.experiment, "variant": self.label}


def assign(experiment: Experiment, tenant: str, user_id: str | None, session_id: str | None) -> Assignment | None:
    """The caller's place; None for other tenants, for nobody in particular, and where there is nothing to try."""
    unit = user_id if user_id is not None else session_id
    if unit is None or tenant != experiment.tenant or not (experiment.variants or experiment.holdout):
        return None
    if _point(experiment.name, "holdout", unit) < experiment.holdout:
        return Assignment(experiment.name, None)
    if not experiment.variants:
        return None
    point = _point(experiment.name, "variant", unit)
    for variant in experiment.variants:
        point -= variant.share
        if point < 0:
            return Assignment(experiment.name, variant)
    return Assignment(experiment.name, experiment.variants[-1])


def in_shadow(experiment: Experiment, tenant: str, unit: str) -> bool:
    """Whether this caller's request is answered by the shadow too."""
    shadow = experiment.shadow
    return shadow is not None and tenant == experiment.tenant and _point(experiment.name, "shadow", unit) < shadow.share


def with_defaults(request: RecommendRequest, variant: Variant) -> RecommendRequest:
    """The request with the variant's settings where it says nothing itself."""
    added = {name: value for name, value in variant.defaults.items() if name not in request.model_fields_set}
    if not added:
        return request
    return RecommendRequest.model_validate({**request.model_dump(exclude_unset=True), **added})


def read_experiment(path: Path) -> Experiment:
    """The experiment in a JSON file."""
    try:
        return Experiment.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise RetortError(f"the experiment file {path} does not exist; unset RETORT_EXPERIMENT or write it.") from None
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise RetortError(f"the experiment file {path} cannot be used: {where}: {first['msg']}.") from None


def _point(name: str, purpose: str, unit: str) -> float:
    """Evenly spread over [0, 1), and for each purpose anew."""
    digest = blake2b(f"{name}\x1f{purpose}\x1f{unit}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
