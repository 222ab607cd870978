"""Raw data → checked tables → splits."""

from pathlib import Path

from offline.data.load import load, save_loaded
from offline.data.root import existing_directory
from offline.data.split import make_split
from offline.data.split_store import save_split
from offline.line import Line
from offline.pipeline.context import Context, tables_of
from offline.run_dir import hash_directory


def files_hash(data_dir: Path | None) -> str | None:
    """The state of the raw data; None where a source needs none. DataError where it lies in no directory."""
    return None if data_dir is None else hash_directory(existing_directory(data_dir))


def data_step(line: Line[Context], work: Path) -> None:
    context = line.context
    save_loaded(load(context.recipe.data, context.data_dir, context.progress), work)


def split_step(line: Line[Context], work: Path) -> None:
    save_split(make_split(tables_of(line).interactions, line.context.recipe.split, "held"), work)


def split_refit_step(line: Line[Context], work: Path) -> None:
    save_split(make_split(tables_of(line).interactions, line.context.recipe.split, "refit"), work)
