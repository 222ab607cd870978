"""The `retort import` command: from another system's export to a recipe."""

import shlex
from pathlib import Path
from typing import Annotated

import typer


def import_export(
    system: Annotated[str, typer.Argument(help="gorse, movielens, recbole or personalize")],
    directory: Annotated[Path, typer.Argument(help="directory of the export's files")],
    recipe: Annotated[Path, typer.Option(help="recipe file to write")] = Path("shop.toml"),
) -> None:
    """Write a recipe for the export of another system; `retort run` or `retort quickstart` uses it."""
    from retort.offline.quickstart.exports import find_export
    from retort.offline.quickstart.recipe_file import data_section, recipe_text, save_recipe
    from retort.offline.quickstart.recognised import recognise
    from retort.offline.quickstart.train import FILTERS
    from retort.shared.base.errors import RecipeError

    if recipe.exists():
        raise RecipeError(f"{recipe} exists; name another file with --recipe, or delete it.")
    events, items = find_export(system, directory)
    found = recognise(events, items)
    for line in found.lines():
        typer.echo(line)
    command = shlex.join(["retort", "import", system, str(directory)])
    save_recipe(recipe, recipe_text(found, data_section(found), FILTERS, command))
    files = shlex.join([str(events), *([str(items)] if items else [])])
    typer.echo(f"wrote {recipe}. Next:")
    typer.echo(f"  retort quickstart {files} --recipe {shlex.quote(str(recipe))}   # train, compare and serve")
    typer.echo(f"  retort data check {shlex.quote(str(recipe))} --data {shlex.quote(str(events.parent))}")
