"""A/B test configuration and the assignment of users to variants by a hash, which needs no storage.

    {"name": "autumn", "holdout": 0.05,
     "variants": [{"name": "control", "share": 0.5},
                  {"name": "diverse", "share": 0.3, "defaults": {"diversity": 0.3}},
                  {"name": "new", "share": 0.2, "alias": "challenger"}],
     "shadow": {"alias": "challenger", "share": 0.1}}

The shares divide the users outside the holdout. A user keeps its variant as long as the test keeps its name and its
shares.
"""

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from retort.serving.schemas.requests import RecommendRequest
from retort.shared.base.errors import RetortError, first_invalid

HOLDOUT = "holdout"
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
# Settings that a variant may have; a value in the request takes precedence.
Tunable = Literal["diversity", "boost", "bury", "caps", "filter", "strict_filter"]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Variant(_Document):
    """One variant of the test."""

    name: Name
    share: float = Field(gt=0, le=1)
    alias: Name | None = Field(
        None, description="alias of the registry that serves the variant; default: the server's alias"
    )
    defaults: dict[Tunable, Any] = {}


class Shadow(_Document):
    """A bundle that answers in the background and is only compared with the served one."""

    alias: Name
    share: float = Field(1.0, gt=0, le=1)


class ABTest(_Document):
    """Configuration of an A/B test; its name is the salt of the hash."""

    name: Name
    tenant: Name = "default"
    holdout: float = Field(0.0, ge=0, lt=1)
    variants: tuple[Variant, ...] = ()
    shadow: Shadow | None = None

    @property
    def labels(self) -> frozenset[str]:
        """Names of the variants and of the holdout."""
        return frozenset(variant.name for variant in self.variants) | {HOLDOUT}

    @model_validator(mode="after")
    def _check_variants(self) -> Self:
        names = [variant.name for variant in self.variants]
        if len(set(names)) != len(names) or HOLDOUT in names:
            raise ValueError("variants must have unique names other than 'holdout'")
        if self.variants and abs(sum(variant.share for variant in self.variants) - 1) > 1e-6:
            raise ValueError("the variants' shares must add up to 1")
        for variant in self.variants:
            RecommendRequest.model_validate({"history": [], **variant.defaults})
        return self


@dataclass(frozen=True, slots=True)
class Assignment:
    """Variant of a caller; None is the holdout."""

    ab_test: str
    variant: Variant | None

    @property
    def label(self) -> str:
        return HOLDOUT if self.variant is None else self.variant.name

    @property
    def document(self) -> dict[str, str]:
        return {"name": self.ab_test, "variant": self.label}


def assign(ab_test: ABTest, tenant: str, user_id: str | None, session_id: str | None) -> Assignment | None:
    """Assign a caller to a variant.

    Returns:
        None for other tenants, for requests without a user or session, and for tests without variants and holdout.
    """
    unit = user_id if user_id is not None else session_id
    if unit is None or tenant != ab_test.tenant or not (ab_test.variants or ab_test.holdout):
        return None
    if _hash_fraction(ab_test.name, "holdout", unit) < ab_test.holdout:
        return Assignment(ab_test.name, None)
    if not ab_test.variants:
        return None
    fraction = _hash_fraction(ab_test.name, "variant", unit)
    for variant in ab_test.variants:
        fraction -= variant.share
        if fraction < 0:
            return Assignment(ab_test.name, variant)
    return Assignment(ab_test.name, ab_test.variants[-1])


def in_shadow(ab_test: ABTest, tenant: str, unit: str) -> bool:
    """Return whether the shadow also answers this caller's requests."""
    shadow = ab_test.shadow
    return (
        shadow is not None and tenant == ab_test.tenant and _hash_fraction(ab_test.name, "shadow", unit) < shadow.share
    )


def apply_variant(request: RecommendRequest, variant: Variant) -> RecommendRequest:
    """Return the request with the variant's settings for fields that it does not set."""
    added = {name: value for name, value in variant.defaults.items() if name not in request.model_fields_set}
    if not added:
        return request
    return RecommendRequest.model_validate({**request.model_dump(exclude_unset=True), **added})


def read_ab_test(path: Path) -> ABTest:
    """Read an A/B test from a JSON file.

    Raises:
        RetortError: The file is missing or invalid.
    """
    try:
        return ABTest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise RetortError(f"the A/B test file {path} does not exist; create it or unset RETORT_EXPERIMENT.") from None
    except ValidationError as error:
        raise RetortError(f"the A/B test file {path} is invalid: {first_invalid(error)}.") from None


def _hash_fraction(name: str, purpose: str, unit: str) -> float:
    """Return a uniform hash in [0, 1), independent for each purpose."""
    digest = blake2b(f"{name}\x1f{purpose}\x1f{unit}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
