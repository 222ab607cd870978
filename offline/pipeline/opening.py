"""What several commands open: the database at this version, a recipe's line."""

from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import Engine

from retort.offline.common.progress import Progress
from retort.offline.pipeline import Context, open_line
from retort.offline.pipeline.dag import Line
from retort.offline.recipes.recipe import Recipe, load_recipe
from retort.shared.base.settings import LanguageModelSettings, Settings
from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database


def open_tables(settings: Settings) -> Engine:
    """The database, its tables made or brought up to date."""
    upgrade(settings.database)
    return open_database(settings.database)


def context_of(
    recipe: Recipe, data: Path | None, engine: Engine, progress: Progress, bundles_dir: Path | None = None
) -> Context:
    """What a line needs to know, from this process's environment. `bundles_dir`: publish there at the end."""
    where = data.absolute() if data else None
    return Context(recipe, where, engine, LanguageModelSettings(), progress, bundles_dir)


def line_of(
    reference: str, data: Path | None, out: Path, overrides: Iterable[str], progress: Progress
) -> Line[Context]:
    """A recipe's line over its run directory."""
    recipe = load_recipe(reference, overrides)
    return open_line(context_of(recipe, data, open_tables(Settings()), progress), out)
