"""What the teacher would recommend at moments of the train histories, made once for each split and kept.

The lists of a refit are made anew: its histories are one event longer, and its teacher may read that event. A teacher
that takes turns with a student (LLMD4Rec's loop, or E4SRec, which is its first half-turn) is put together here.
"""

from pathlib import Path
from typing import Any

from retort.offline.data.split import Split
from retort.offline.data.split_store import load_split
from retort.offline.pipeline.context import VECTORS_FILE, RunContext, load_tables
from retort.offline.pipeline.dag import Pipeline
from retort.offline.teachers.config import TeacherConfig


def lists_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    _make(pipeline, "split", work)


def lists_refit_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    _make(pipeline, "split_refit", work)


def tuned_items_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Item vectors of the tuned encoder; from the held split under both protocols, as profiles are."""
    from retort.offline.embeddings.vectors import write_vectors
    from retort.offline.teachers.list_builders import tuned_items

    context = pipeline.context
    split = load_split(pipeline.ensure_path("split"))
    ids, vectors = tuned_items(split, _known(pipeline), context.recipe.teacher, context.progress)
    write_vectors(work / VECTORS_FILE, ids, vectors, "item_id")


def given_items_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Item vectors from a file or a published folder, by id."""
    from retort.offline.embeddings.vectors import read_vectors, write_vectors
    from retort.offline.teachers.published import read_published_items
    from retort.shared.base.errors import TeacherError

    config = beside_data(pipeline.context.recipe.teacher, pipeline.context.data_dir)
    if config.items_path is None:
        raise TeacherError(f"[teacher] items = {config.items!r} needs items_path, the file or folder that holds them.")
    published = config.items == "published"
    read = read_published_items(config.items_path) if published else read_vectors(config.items_path, "item_id")
    write_vectors(work / VECTORS_FILE, read.ids, read.vectors, "item_id")


def _make(pipeline: Pipeline[RunContext], split_step: str, work: Path) -> None:
    from retort.offline.teachers.list_builders import make_lists
    from retort.offline.teachers.ranked_lists import DISTRIBUTIONS, RANKINGS, write_distributions, write_rankings

    context = pipeline.context
    split, config = load_split(pipeline.ensure_path(split_step)), context.recipe.teacher
    outputs = (
        _mutual_distillation(pipeline, split)
        if config.trains_with_student
        else make_lists(split, _known(pipeline), config, context.progress)
    )
    write_rankings(work / RANKINGS, split, outputs.rankings)
    write_distributions(work / DISTRIBUTIONS, split, outputs.distributions)


def _mutual_distillation(pipeline: Pipeline[RunContext], split: Split) -> Any:
    """LLMD4Rec's loop; `item_head` alone is a plain student, read once, that hears nothing back.

    Its seed is the turns' own: they are one teacher, which all seeds of the student that is served share.
    """
    import torch

    from retort.offline.pipeline.train import new_student
    from retort.offline.teachers.item_head import ItemHead
    from retort.offline.teachers.list_builders import text_vectors
    from retort.offline.teachers.text_encoder import TextEncoder
    from retort.offline.training.mutual_distillation import run_mutual_distillation

    recipe, progress = pipeline.context.recipe, pipeline.context.progress
    teacher, n_items = recipe.teacher, len(split.item_index)
    config = teacher.mutual
    if teacher.lists == "item_head":
        config = config.model_copy(update={"teacher": "item_head", "loops": 1, "upward": 0.0, "downward": 0.0})
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kept: dict[str, Any] = {"k": config.k, "temperature": config.temperature}

    def new_teacher(events: Any) -> Any:
        if config.teacher == "item_head":
            return ItemHead(events, n_items, teacher.item_head, **kept)
        items = text_vectors(split, _known(pipeline), teacher, progress)
        return TextEncoder(events, items.vectors, items.present, teacher.text_encoder.model_copy(update=kept))

    def new_partner() -> Any:
        return new_student(recipe, n_items, config.seed).to(device)

    return run_mutual_distillation(split, new_partner, new_teacher, recipe.training, config, progress)


def _known(pipeline: Pipeline[RunContext]) -> Any:
    from retort.offline.teachers.list_builders import ItemKnowledge

    vectors = pipeline.ensure_path("items") / VECTORS_FILE if "items" in pipeline.steps else None
    return ItemKnowledge(load_tables(pipeline).items, vectors, pipeline.context.recipe.encoder)


def beside_data(config: TeacherConfig, data_dir: Path | None) -> TeacherConfig:
    """Given lists and item vectors named by a relative path lie in the data directory."""
    if data_dir is None:
        return config
    paths = {"lists_path": config.lists_path, "items_path": config.items_path}
    return config.model_copy(update={key: data_dir / path for key, path in paths.items() if path is not None})
