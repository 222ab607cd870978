"""Options and arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

# In the place of a recipe: the command does nothing. For containers whose recipe is a setting.
NO_RECIPE = "none"

DataDir = Annotated[Path | None, typer.Option("--data", help="directory of the raw files; made-up data needs none")]
OutDir = Annotated[Path, typer.Option("--out", help="run directory; finished work in it is reused")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="section.key=value; may be repeated")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON instead of a table")]


def _complete_recipe(incomplete: str) -> list[str]:
    """Names of shipped recipes, for the completion of shells."""
    from retort.offline.recipes.recipe_files import shipped_recipes

    return [name for name in shipped_recipes() if name.startswith(incomplete)]


RecipeName = Annotated[
    str, typer.Argument(help="a shipped recipe's name, or a .toml file", autocompletion=_complete_recipe)
]
