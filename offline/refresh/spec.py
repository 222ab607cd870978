"""The words of `retort refresh start`, kept with the job, and what they mean: the data, the policy, the users."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Engine

from retort.offline.common.section import parse_section
from retort.offline.common.terminal import TerminalProgress
from retort.offline.data.load import load_saved
from retort.offline.data.split_store import load_split
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import RunContext, make_context
from retort.offline.pipeline.dag import Pipeline
from retort.offline.profiles.history import UserHistory, user_histories
from retort.offline.recipes.recipe import load_recipe
from retort.offline.refresh.policy import RefreshPolicy
from retort.offline.refresh.start import Refresh
from retort.shared.base.errors import RecipeError


class Words(BaseModel):
    """What to refresh and by which policy, as JSON. recipe: a name or a path; paths are absolute."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    recipe: str
    data: str | None
    out: str
    overrides: tuple[str, ...] = ()
    policy: str = "all"
    rules: dict[str, Any] = {}
    user_ids: tuple[str, ...] | None = None

    @classmethod
    def of(
        cls,
        recipe: str,
        data: Path | None,
        out: Path,
        overrides: list[str],
        policy: str,
        rules: list[str],
        user_ids: frozenset[str] | None = None,
    ) -> "Words":
        """From a command line; the policy is proved to be one."""
        said = cls(
            # a worker has another working directory
            recipe=str(Path(recipe).absolute()) if Path(recipe).is_file() else recipe,
            data=str(data.absolute()) if data else None,
            out=str(out.absolute()),
            overrides=tuple(overrides),
            policy=policy,
            rules=_rules(rules),
            user_ids=tuple(sorted(user_ids)) if user_ids is not None else None,
        )
        read_policy(said)
        return said

    @property
    def origin(self) -> dict[str, Any]:
        """What one more like it needs; whose turn it is, is asked anew."""
        return self.model_dump(mode="json", include={"recipe", "data", "out", "overrides"})


def read_policy(words: Words) -> RefreshPolicy:
    """`--policy` and its `--rule key=value`."""
    return parse_section(RefreshPolicy, {"name": words.policy, **words.rules}, "refresh policy")


def _rules(rules: list[str]) -> dict[str, str]:
    raw = {}
    for rule in rules:
        key, separator, value = rule.partition("=")
        if not separator:
            raise RecipeError(f"--rule {rule!r} is no key=value, such as min_new_events=10.")
        raw[key.strip()] = value.strip()
    return raw


@contextmanager
def refresh_of(
    engine: Engine, words: Words, budget: tuple[int | None, float | None] = (None, None)
) -> Iterator[tuple[Pipeline[RunContext], Refresh]]:
    """Read the recipe's data, or find it read; what a refresh is made from."""
    policy, recipe = read_policy(words), load_recipe(words.recipe, words.overrides)
    with TerminalProgress() as progress:
        context = make_context(recipe, Path(words.data) if words.data else None, engine, progress)
        pipeline = make_pipeline(context, Path(words.out))
        loaded, split = load_saved(pipeline.ensure_path("data")), load_split(pipeline.ensure_path("split"))
        listed = frozenset(words.user_ids) if words.user_ids is not None else None

        def histories() -> Iterator[UserHistory]:
            return iter(user_histories(split, loaded.interactions))

        yield pipeline, Refresh(recipe.name, histories, loaded.items, recipe.profiles, policy, listed, *budget)
