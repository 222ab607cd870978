"""The ground of every recipe section: frozen, unknown keys refused, wrong values told in one sentence."""

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from retort.shared.base.errors import RecipeError


class Section(BaseModel):
    """A part of a recipe. Each knob is declared once, beside the code that reads it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


S = TypeVar("S", bound=Section)


def parse_section(kind: type[S], raw: dict[str, Any], where: str) -> S:
    """Validate one section; `where` is its name in the recipe."""
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        raise RecipeError("; ".join(_sentence(kind, where, problem) for problem in error.errors()[:3])) from None


def _sentence(kind: type[Section], where: str, problem: Any) -> str:
    key, said = ".".join(map(str, problem["loc"])), problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"[{where}] has no key {key!r}; it knows: {', '.join(sorted(kind.model_fields))}"
    if problem["type"] == "missing":
        return f"[{where}] has no key {key!r}, which it needs"
    return f"[{where}] {key} = {problem.get('input')!r}: {said}" if key else f"[{where}]: {said}"
