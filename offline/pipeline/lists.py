"""What the teacher would recommend at moments of the train histories, made once for each split and kept.

The lists of a refit are made anew: its histories are one event longer, and its teacher may read that event.
"""

from pathlib import Path

from offline.data.split_store import load_split
from offline.line import Line
from offline.pipeline.context import VECTORS_FILE, Context
from offline.teachers.build import TeacherConfig


def lists_step(line: Line[Context], work: Path) -> None:
    _make(line, "split", work)


def lists_refit_step(line: Line[Context], work: Path) -> None:
    _make(line, "split_refit", work)


def _make(line: Line[Context], split: str, work: Path) -> None:
    from offline.teachers.making import make_lists

    context = line.context
    items = line.path("items") / VECTORS_FILE if "items" in line.steps else None
    make_lists(load_split(line.path(split)), items, context.recipe.teacher, context.progress, work)


def beside_data(config: TeacherConfig, data_dir: Path | None) -> TeacherConfig:
    """Given lists named by a relative path lie in the data directory."""
    path = config.lists_path
    if path is None or data_dir is None or path.is_absolute():
        return config
    return config.model_copy(update={"lists_path": data_dir / path})
