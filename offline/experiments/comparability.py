"""Whether arms may be compared: all are asked the same, and none may train longer than the baseline may."""

from typing import Any

from retort.offline.experiments.plan import Plan
from retort.offline.recipes.recipe import Recipe
from retort.shared.base.errors import RecipeError

_ASKED = ("protocol", "split", "evaluation", "data")
_OF_TEXTS = ("text_columns", "text_template")  # what is known of items, not what is asked


def check_comparability(plan: Plan) -> None:
    """RecipeError for an arm whose numbers would differ from the baseline's for another reason than what it knows."""
    baseline = plan.config.baseline
    for arm, student in plan.rows:
        wanted, asked = (_question(plan.recipe(one, student, {})) for one in (baseline, arm))
        if odd := [section for section in _ASKED if asked[section] != wanted[section]]:
            raise RecipeError(
                f"arm {arm!r} has another {odd[0]} than the baseline, so the two are not asked the same; set it "
                "for all arms in [set], or make it an experiment of its own (--set … --name …)."
            )
        epochs, longest = (_longest(plan, one, student) for one in (arm, baseline))
        if epochs > longest:
            raise RecipeError(
                f"arm {arm!r} may train {epochs} epochs and the baseline {longest}; give the baseline a trial that "
                "is as long."
            )


def _question(recipe: Recipe) -> dict[str, Any]:
    said = recipe.as_json()
    data = {key: value for key, value in said["data"].items() if key not in _OF_TEXTS}
    return {**{section: said[section] for section in _ASKED}, "data": data}


def _longest(plan: Plan, arm: str, student: str) -> int:
    return max(plan.recipe(arm, student, keys).training.epochs for keys in plan.trials(arm))
