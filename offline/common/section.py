"""The base class of recipe sections: immutable, without unknown keys, and with one sentence for each wrong value."""

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from retort.shared.base.errors import RecipeError, invalid_reason

# largest seed that numpy, scikit-learn, UMAP and torch all accept
MAX_SEED = 2**32 - 1


class Section(BaseModel):
    """A part of a recipe. Each key is declared once, next to the code that reads it, with its bounds.

    TOML's `nan` and `inf` are refused for all numbers, because comparisons with NaN are false: no bound would hold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


S = TypeVar("S", bound=Section)


def parse_section(kind: type[S], raw: dict[str, Any], where: str) -> S:
    """Validate one section.

    Args:
        where: The section's name in the recipe, for errors.

    Raises:
        RecipeError: A key is unknown or missing, or a value is invalid.
    """
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        raise RecipeError("; ".join(_sentence(kind, where, problem) for problem in error.errors()[:3])) from None


def _sentence(kind: type[Section], where: str, problem: Any) -> str:
    key, reason = ".".join(map(str, problem["loc"])), invalid_reason(problem)
    if problem["type"] == "extra_forbidden":
        return f"[{where}] has no key {key!r}; its keys are: {', '.join(sorted(kind.model_fields))}"
    if problem["type"] == "missing":
        return f"[{where}] requires the key {key!r}; add it"
    return f"[{where}] {key} = {problem.get('input')!r}: {reason}" if key else f"[{where}]: {reason}"
