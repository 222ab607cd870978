"""Raw data → checked tables → splits."""

from pathlib import Path

from offline.data.load import load, save_loaded
from offline.data.split import make_split
from offline.data.split_store import save_split
from offline.line import Line
from offline.pipeline.context import Context, tables_of
from offline.run_dir import hash_directory
from shared.errors import DataError


def files_hash(data_dir: Path | None) -> str | None:
    if data_dir is None:
        return None
    if not data_dir.exists():
        raise DataError(f"there is no directory {data_dir}; name the one with the raw data by --data.")
    return hash_directory(data_dir)


def data_step(line: Line[Context], work: Path) -> None:
    context = line.context
    save_loaded(load(context.recipe.data, context.data_dir, context.progress), work)


def split_step(line: Line[Context], work: Path) -> None:
    save_split(make_split(tables_of(line).interactions, line.context.recipe.split, "held"), work)


def split_refit_step(line: Line[Context], work: Path) -> None:
    save_split(make_split(tables_of(line).interactions, line.context.recipe.split, "refit"), work)
