"""What the teacher would recommend at the events of the train histories, made once for each split.

The refit has lists of its own: its histories are one event longer, and its teacher may read that event. A teacher that
learns by mutual distillation with a student (LLMD4Rec, or E4SRec, which is its first half-turn) is put together here.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from retort.offline.common.plugins import plugin_module
from retort.offline.data.split import Split
from retort.offline.data.split_store import load_split
from retort.offline.pipeline.context import VECTORS_FILE, Plan, RunContext, items_from, load_items
from retort.offline.pipeline.dag import Pipeline, Step
from retort.offline.pipeline.teach import encoder_key, hash_model_folders
from retort.offline.pipeline.train import new_student
from retort.offline.recipes.recipe import STUDENTS
from retort.offline.teachers.ranked_lists import DISTRIBUTIONS, RANKINGS, write_distributions, write_rankings

if TYPE_CHECKING:
    from retort.offline.students._base import Student
    from retort.offline.teachers._list_collector import TeacherOutputs
    from retort.offline.teachers._train_events import TrainEvents
    from retort.offline.teachers._trainable import TrainableTeacher
    from retort.offline.teachers.list_builders import ItemKnowledge


def list_steps(plan: Plan) -> list[Step[RunContext]]:
    """lists and lists_refit: apart from the training, so that seeds, weights and students share them."""
    config = plan.recipe.teacher
    if "lists" not in plan.teacher_parts or not config.makes_lists:
        return []
    key = {name: plan.config["teacher"][name] for name in ("lists", "item_control", "seed", *config.list_teachers)}
    models = [getattr(getattr(config, section), "model", None) for section in config.list_teachers]
    key |= hash_model_folders("model_files", models)
    plugins: tuple[str, ...] = ()
    if config.trains_with_student:
        key |= {"student": plan.config["student"], "training": _partner_training(plan.config["training"])}
        plugins = (plugin_module(STUDENTS, plan.recipe.student_name),)
    if "tuned_encoder" in config.list_teachers:
        key |= encoder_key(plan)
    needs = (*items_from(plan), *(("items",) if config.lists_read_vectors else ()))
    resumes = config.lists == "grounding"
    steps = []
    if plan.recipe.finds_epochs:
        steps.append(Step("lists", lists_step, ("split", *needs), key, plugins, queue="gpu-train", resumes=resumes))
    if plan.recipe.protocol == "refit":
        needs = ("split_refit", *needs)
        steps.append(Step("lists_refit", lists_refit_step, needs, key, plugins, queue="gpu-train", resumes=resumes))
    return steps


def _partner_training(training: dict[str, Any]) -> dict[str, Any]:
    """What shapes the student of mutual distillation; its epochs and seed come from the teacher's own section."""
    of_the_run = {"epochs", "seed", "patience", "evaluate_every", "refit_epochs"}
    return {key: value for key, value in training.items() if key not in of_the_run}


def lists_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Write the lists for the train events of the held split."""
    _write_lists(pipeline, "split", work)


def lists_refit_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Write the lists for the train events of the refit's split."""
    _write_lists(pipeline, "split_refit", work)


def _write_lists(pipeline: Pipeline[RunContext], split_step: str, work: Path) -> None:
    from retort.offline.teachers.list_builders import make_lists  # loads torch

    split, config = load_split(pipeline.ensure_path(split_step)), pipeline.context.recipe.teacher
    if config.trains_with_student:
        lists = _distill_mutually(pipeline, split)
    else:
        lists = make_lists(split, _known(pipeline), config, pipeline.context.progress, work)
    write_rankings(work / RANKINGS, split, lists.rankings)
    write_distributions(work / DISTRIBUTIONS, split, lists.distributions)


def _distill_mutually(pipeline: Pipeline[RunContext], split: Split) -> "TeacherOutputs":
    """LLMD4Rec's loop. `item_head` alone reads a plain student once and teaches it nothing.

    The seed is that of mutual distillation: all seeds of the served student share one teacher.
    """
    import torch

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

    def new_teacher(events: "TrainEvents") -> "TrainableTeacher":
        if config.teacher == "item_head":
            return ItemHead(events, n_items, teacher.item_head, **kept)
        items = text_vectors(split, _known(pipeline), teacher, progress)
        return TextEncoder(events, items.vectors, items.present, teacher.text_encoder.model_copy(update=kept))

    def new_partner() -> "Student":
        return new_student(recipe, n_items, config.seed).to(device)

    return run_mutual_distillation(split, new_partner, new_teacher, recipe.training, config, progress)


def _known(pipeline: Pipeline[RunContext]) -> "ItemKnowledge":
    """What a teacher of lists may read of the items."""
    from retort.offline.teachers.list_builders import ItemKnowledge  # loads torch

    vectors = pipeline.ensure_path("items") / VECTORS_FILE if "items" in pipeline.steps else None
    return ItemKnowledge(load_items(pipeline), vectors, pipeline.context.recipe.encoder)
