"""The options of `retort refresh start`, kept with the refresh: recipe, data, policy and users."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Engine

from retort.offline.common.section import parse_section
from retort.offline.common.terminal import TerminalProgress
from retort.offline.data.interactions import Items
from retort.offline.data.split_store import load_split
from retort.offline.knowledge.config import KnowledgeConfig
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import RunContext, load_items, load_tables, make_context
from retort.offline.pipeline.dag import Pipeline
from retort.offline.profiles.history import UserHistory, user_histories
from retort.offline.recipes.recipe import load_recipe
from retort.offline.refresh.policy import RefreshPolicy
from retort.offline.refresh.start import Refresh
from retort.shared.base.errors import RecipeError


class RefreshSpec(BaseModel):
    """The options of a refresh, as JSON. recipe: a name or a path. Paths are absolute. items: of items, no users."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    recipe: str
    data: str | None
    out: str
    overrides: tuple[str, ...] = ()
    policy: str = "all"
    rules: dict[str, Any] = {}
    user_ids: tuple[str, ...] | None = None
    items: bool = False

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
        *,
        items: bool = False,
    ) -> "RefreshSpec":
        """Parse the options of a command line. Raises RecipeError if the policy or a rule is wrong."""
        spec = cls(
            # a worker has another working directory
            recipe=str(Path(recipe).absolute()) if Path(recipe).is_file() else recipe,
            data=str(data.absolute()) if data else None,
            out=str(out.absolute()),
            overrides=tuple(overrides),
            policy=policy,
            rules=_parse_rules(rules),
            user_ids=tuple(sorted(user_ids)) if user_ids is not None else None,
            items=items,
        )
        parse_policy(spec)
        return spec

    @property
    def origin(self) -> dict[str, Any]:
        """Parameters for repeating this refresh. Users are selected again."""
        kept = {"recipe", "data", "out", "overrides", *(["items"] if self.items else [])}
        return self.model_dump(mode="json", include=kept)


def parse_policy(spec: RefreshSpec) -> RefreshPolicy:
    """Parse `--policy` and its `--rule key=value`."""
    return parse_section(RefreshPolicy, {"name": spec.policy, **spec.rules}, "refresh policy")


def _parse_rules(rules: list[str]) -> dict[str, str]:
    parsed = {}
    for rule in rules:
        key, separator, value = rule.partition("=")
        if not separator:
            raise RecipeError(f"--rule {rule!r} is not key=value; write one like min_new_events=10.")
        parsed[key.strip()] = value.strip()
    return parsed


@contextmanager
def open_item_refresh(
    engine: Engine, spec: RefreshSpec
) -> Iterator[tuple[Pipeline[RunContext], str, Items, KnowledgeConfig]]:
    """Open the recipe's pipeline, the name of its refresh of items, the items, and how they are described."""
    recipe = load_recipe(spec.recipe, spec.overrides)
    with TerminalProgress() as progress:
        context = make_context(recipe, Path(spec.data) if spec.data else None, engine, progress)
        pipeline = make_pipeline(context, Path(spec.out))
        yield pipeline, f"{recipe.name} (items)", load_tables(pipeline).items, recipe.knowledge


@contextmanager
def open_refresh(
    engine: Engine, spec: RefreshSpec, budget: tuple[int | None, float | None] = (None, None)
) -> Iterator[tuple[Pipeline[RunContext], Refresh]]:
    """Open the recipe's pipeline and the refresh that its data gives. Data that is not stored yet is read first."""
    policy, recipe = parse_policy(spec), load_recipe(spec.recipe, spec.overrides)
    with TerminalProgress() as progress:
        context = make_context(recipe, Path(spec.data) if spec.data else None, engine, progress)
        pipeline = make_pipeline(context, Path(spec.out))
        interactions, split = load_tables(pipeline).interactions, load_split(pipeline.ensure_path("split"))
        items = load_items(pipeline)
        user_ids = frozenset(spec.user_ids) if spec.user_ids is not None else None

        def histories() -> Iterator[UserHistory]:
            return iter(user_histories(split, interactions))

        yield pipeline, Refresh(recipe.name, histories, items, recipe.profiles, policy, user_ids, *budget)
