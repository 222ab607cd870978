"""Puts a recipe's pipeline together: which steps it requires, in what order, and everything that shapes each."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from retort.offline.common.database import migrate_and_open
from retort.offline.common.progress import Progress
from retort.offline.embeddings.encoder_config import PACKAGED
from retort.offline.embeddings.tfidf import TFIDF
from retort.offline.pipeline import deliver, lists, prepare, teach, train
from retort.offline.pipeline.artifact_store import ArtifactStore, hash_directory
from retort.offline.pipeline.context import RunContext, make_context
from retort.offline.pipeline.dag import Pipeline, Step
from retort.offline.recipes.recipe import Recipe, load_recipe
from retort.shared.base.settings import LanguageModelSettings, Settings
from retort.shared.profiles.profile_choices import choices_hash

_SPLITTING_CODE = (
    "retort.offline.data.split",
    "retort.offline.data.split_store",
    "retort.offline.data.event_arrays",
    "retort.offline.data.ragged",
)
_TEXT_MODEL_CODE = (
    "retort.offline.embeddings.encoder_config",
    "retort.offline.embeddings.text_model",
    "retort.offline.embeddings.windows",
    "retort.offline.embeddings.tfidf",
    "retort.offline.embeddings.vectors",
)
ENCODING_CODE = (*_TEXT_MODEL_CODE, "retort.offline.embeddings.encoder")
_MAPPING_CODE = (
    "retort.offline.embeddings.reducer",
    "retort.offline.embeddings.shards",
    "retort.offline.embeddings.vectors",
)
# validation chooses the epoch, so how it ranks shapes the weights
_VALIDATING_CODE = (
    "retort.offline.evaluation.validate",
    "retort.offline.evaluation.evaluate",
    "retort.offline.evaluation.metrics",
)
_TRAINING_CODE = (
    "retort.offline.pipeline.train",
    "retort.offline.students",
    "retort.offline.distillation",
    "retort.offline.training",
    "retort.offline.teachers",
    "retort.offline.losses",
    "retort.shared.model.sequences",
    *_VALIDATING_CODE,
)


def load_pipeline(
    reference: str, data: Path | None, out: Path, overrides: Iterable[str], progress: Progress
) -> Pipeline[RunContext]:
    """The pipeline of a recipe over the run directory `out`, with the database of the settings."""
    recipe = load_recipe(reference, overrides)
    return make_pipeline(make_context(recipe, data, migrate_and_open(Settings()), progress), out)


def make_pipeline(context: RunContext, out_dir: Path) -> Pipeline[RunContext]:
    """The steps that the recipe requires, over the run directory `out_dir`; with `bundles_dir` it publishes."""
    recipe = context.recipe
    steps = make_steps(
        recipe,
        context.data_dir,
        context.language_model,
        publish=context.bundles_dir is not None,
        # what users decided about their profiles is part of the profiles
        choices=choices_hash(context.engine) if "users" in recipe.knowledge() else None,
    )
    return Pipeline(steps, context, ArtifactStore(out_dir), context.progress)


def make_steps(
    recipe: Recipe,
    data_dir: Path | None,
    language_model: LanguageModelSettings,
    *,
    publish: bool = False,
    choices: str | None = None,
) -> list[Step[RunContext]]:
    """The recipe's steps in order. `language_model`: what backend "auto" means is part of what profiles are."""
    return [
        *_prepare(recipe, data_dir),
        *_teach(recipe, data_dir, language_model, choices),
        *_lists(recipe),
        *_train(recipe, data_dir),
        *_deliver(recipe, publish=publish),
    ]


def _prepare(recipe: Recipe, data_dir: Path | None) -> list[Step[RunContext]]:
    said, code = recipe.as_json(), _SPLITTING_CODE
    read = {"data": said["data"], "files": prepare.files_hash(data_dir)}
    outside = prepare.files_outside(recipe.data.options, data_dir)
    read |= {"files_outside": outside} if outside else {}
    steps = [
        Step("data", prepare.data_step, config=read, code=("retort.offline.data",)),
        Step("split", prepare.split_step, ("data",), {"split": said["split"]}, code),
    ]
    if recipe.protocol == "refit":
        steps.append(Step("split_refit", prepare.split_refit_step, ("data",), {"split": said["split"]}, code))
    return steps


def _teach(
    recipe: Recipe, data_dir: Path | None, language_model: LanguageModelSettings, choices: str | None
) -> list[Step[RunContext]]:
    said, knowledge = recipe.as_json(), recipe.knowledge()
    encoder = encoder_of(recipe)
    reducer = {"reducer": said["reducer"], "shards": said["encoder"]["shards"]}
    steps: list[Step[RunContext]] = []
    if "users" in knowledge:
        asked = {"profiles": said["profiles"], **teach.written_by(recipe.profiles, data_dir, language_model)}
        asked |= {"choices": choices} if choices else {}
        written = ("retort.offline.profiles", "retort.offline.data.split")
        steps += [
            Step("profiles", teach.profiles_step, ("data", "split"), asked, written, queue="gpu-llm", resumes=True),
            Step("vectors", teach.vectors_step, ("profiles",), encoder, ENCODING_CODE, queue="gpu-train", resumes=True),
            Step("teacher", teach.teacher_step, ("vectors",), reducer, _MAPPING_CODE),
        ]
    return [*steps, *_items(recipe, data_dir)]


def _items(recipe: Recipe, data_dir: Path | None) -> list[Step[RunContext]]:
    """Item vectors: encoded, given, or of an encoder tuned on train rows. A teacher's lists never read the tuned ones,
    which know what its own rows lead to."""
    knowledge, teacher, said = recipe.knowledge(), recipe.teacher, recipe.as_json()
    if "items" not in knowledge:
        return []
    steps: list[Step[RunContext]] = []
    if teacher.items in ("file", "published"):
        files = _given(lists.beside_data(teacher, data_dir).items_path)
        shaped = {"items": teacher.items, "items_files": files}
        return [Step("items", lists.given_items_step, ("data",), shaped, ("retort.offline.teachers.published",))]
    if teacher.items == "encoded" or ("lists" in knowledge and teacher.lists_read_vectors):
        encoder = encoder_of(recipe)
        steps.append(
            Step("items", teach.items_step, ("data",), encoder, ENCODING_CODE, queue="gpu-train", resumes=True)
        )
    if teacher.items == "tuned":
        shaped = encoder_of(recipe) | {"tuned_encoder": said["teacher"]["tuned_encoder"]}
        code, needs = ("retort.offline.teachers", "retort.offline.losses", *_TEXT_MODEL_CODE), ("data", "split")
        steps.append(Step("tuned_items", lists.tuned_items_step, needs, shaped, code, queue="gpu-train"))
    return steps


def encoder_of(recipe: Recipe) -> dict[str, Any]:
    """What reads texts."""
    return {"encoder": recipe.as_json()["encoder"], **_in_folders("encoder_files", recipe.encoder.models)}


def _in_folders(key: str, models: Iterable[str | None]) -> dict[str, dict[str, str]]:
    """State of models that are folders, by their names; nothing where there is none, so that earlier work is found."""
    folders = {model: Path(model).expanduser() for model in models if model and model not in (PACKAGED, TFIDF)}
    states = {model: hash_directory(folder) for model, folder in folders.items() if folder.is_dir()}
    return {key: states} if states else {}


def _given(path: Path | None) -> str | None:
    """State of given files: others under the same name are another teacher."""
    return hash_directory(path) if path is not None and path.exists() else None


def _lists(recipe: Recipe) -> list[Step[RunContext]]:
    """Lists of a teacher that makes them: apart from the training, so that seeds, weights and students share them."""
    knowledge, config = recipe.knowledge(), recipe.teacher
    if "lists" not in knowledge or not config.makes_lists:
        return []
    said = recipe.as_json()
    shaped = {key: said["teacher"][key] for key in ("lists", "item_control", "seed", *config.list_teachers)}
    code: tuple[str, ...] = (
        "retort.offline.pipeline.lists",
        "retort.offline.teachers",
        "retort.offline.losses",
        *_TEXT_MODEL_CODE,
    )
    models = [getattr(getattr(config, section), "model", None) for section in config.list_teachers]
    shaped |= _in_folders("model_files", models)
    if config.trains_with_student:
        shaped |= {"student": said["student"], "training": _partner_training(said["training"])}
        code = ("retort.offline.pipeline.lists", *_TRAINING_CODE)
    if "tuned_encoder" in config.list_teachers:
        shaped |= encoder_of(recipe)
    needs = ("data", *(("items",) if config.lists_read_vectors else ()))
    steps = []
    if recipe.finds_epochs:
        steps.append(Step("lists", lists.lists_step, ("split", *needs), shaped, code, queue="gpu-train"))
    if recipe.protocol == "refit":
        steps.append(
            Step("lists_refit", lists.lists_refit_step, ("split_refit", *needs), shaped, code, queue="gpu-train")
        )
    return steps


def _partner_training(training: dict[str, Any]) -> dict[str, Any]:
    """What shapes the student that takes turns; how long and by which seed, the turns say themselves."""
    of_the_run = {"epochs", "seed", "patience", "evaluate_every", "refit_epochs"}
    return {key: value for key, value in training.items() if key not in of_the_run}


def _given_lists(recipe: Recipe, data_dir: Path | None) -> dict[str, str | None]:
    """State of the files behind `lists_path`."""
    if "lists" not in recipe.knowledge() or recipe.teacher.lists not in ("file", "published"):
        return {}
    return {"lists_files": _given(lists.beside_data(recipe.teacher, data_dir).lists_path)}


def _train(recipe: Recipe, data_dir: Path | None) -> list[Step[RunContext]]:
    said, taught = recipe.as_json(), _taught(recipe)
    made = ("lists",) if "lists" in recipe.knowledge() and recipe.teacher.makes_lists else ()
    sections = ("student", "training", "objectives", *(("teacher",) if recipe.knowledge() else ()))
    shaped = {section: said[section] for section in sections} | _given_lists(recipe, data_dir)
    steps = []
    if recipe.finds_epochs:
        needs = ("split", *taught, *made)
        # validation asks what the test asks; said only where it is not the rule, so that earlier work is found again
        asked = recipe.evaluation.model_dump(include={"hide_seen", "last_items"}, exclude_defaults=True)
        chosen = {**shaped, **asked}
        steps.append(Step("train", train.train_step, needs, chosen, _TRAINING_CODE, queue="gpu-train", resumes=True))
    if recipe.protocol == "refit":
        found = ("train",) if recipe.finds_epochs else ()
        needs = ("split_refit", *found, *taught, *(f"{name}_refit" for name in made))
        steps.append(Step("refit", train.refit_step, needs, shaped, _TRAINING_CODE, queue="gpu-train", resumes=True))
    return steps


def _taught(recipe: Recipe) -> tuple[str, ...]:
    """The steps that leave what the teacher knows."""
    knowledge = recipe.knowledge()
    items = "tuned_items" if recipe.teacher.items == "tuned" else "items"
    steps = tuple(step for step, part in (("teacher", "users"), (items, "items")) if part in knowledge)
    # the same texts, and so the same vectors, may be believed otherwise
    weighed = "users" in knowledge and recipe.teacher.weights.by != "none"
    return (*steps, "profiles") if weighed else steps


def _deliver(recipe: Recipe, *, publish: bool) -> list[Step[RunContext]]:
    said = recipe.as_json()
    refit = recipe.protocol == "refit"
    weights, asked = ("refit", "split_refit") if refit else ("train", "split")
    splits = tuple(dict.fromkeys(("split", asked)))
    found = ("train",) if recipe.finds_epochs else ()
    acting = ("retort.offline.pipeline.deliver",)
    exporting = (*acting, "retort.offline.export.onnx", "retort.offline.export.topk_graph", "retort.offline.students")
    measuring = (*acting, "retort.offline.evaluation", "retort.shared.model.scoring", "retort.shared.model.sequences")
    sealing = (
        *acting,
        "retort.offline.export.bundle_builder",
        "retort.shared.model.bundle",
        "retort.shared.model.sealed_files",
        "retort.shared.model.scoring",
        "retort.shared.model.sequences",
    )
    steps = [
        Step("export", deliver.export_step, (weights, asked), {"student": said["student"]}, exporting),
        Step(
            "evaluate",
            deliver.evaluate_step,
            ("data", *splits, *found, "export"),
            {"evaluation": said["evaluation"]},
            measuring,
        ),
        Step("seal", deliver.seal_step, ("data", asked, "export", "evaluate", *found), {"recipe": said}, sealing),
    ]
    if publish:
        steps.append(Step("publish", deliver.publish_step, ("seal",), kept=False))
    return steps
