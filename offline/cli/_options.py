"""Options and arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

# In the place of a recipe: the command does nothing. For containers whose recipe is a setting.
NO_RECIPE = "none"

DataDir = Annotated[Path | None, typer.Option("--data", help="directory of the raw files; made-up data needs none")]
OutDir = Annotated[Path, typer.Option("--out", help="run directory; finished work in it is reused")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="section.key=value; may be repeated")]
RecipeName = Annotated[str, typer.Argument(help="a shipped recipe's name, or a .toml file")]
