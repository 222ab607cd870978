"""`retort items …`: what happens to items between two trainings."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Items between two trainings.", no_args_is_help=True)


@app.command()
def add(
    bundle: Annotated[Path, typer.Argument(help="a sealed bundle's directory")],
    items: Annotated[Path, typer.Argument(help="item_id, title, attributes: of the new items and of the known ones")],
    out: Annotated[Path, typer.Option("--out", help="directory to seal the new bundle into")],
    encoder: Annotated[str | None, typer.Option(help="a text encoder; unset: the recipe's")] = None,
    share: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="of the places in lists of ten, for the new items; unset: their share of the catalogue"
        ),
    ] = None,
) -> None:
    """Make new items recommendable from their texts, without training; seals a new bundle."""
    from retort.offline.common.terminal import TerminalProgress
    from retort.offline.export.cold_items import add_items

    with TerminalProgress() as progress:
        added = add_items(bundle, items, out, progress, encoder=encoder, share=share)
        progress.say(added.sentence())
    typer.echo(added.bundle)


@app.callback()
def items() -> None:
    """Items between two trainings."""
