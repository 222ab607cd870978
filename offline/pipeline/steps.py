"""Which steps a recipe needs, in what order, and all that shapes each."""

from pathlib import Path

from offline.line import Line, Step
from offline.pipeline import deliver, lists, prepare, teach, train
from offline.pipeline.context import Context
from offline.recipe import Recipe
from offline.run_dir import RunDir, hash_listing
from shared.settings import LanguageModelSettings

_TRAINING_CODE = ("offline.students", "offline.distillation", "offline.training", "offline.teachers")


def open_line(context: Context, out_dir: Path) -> Line[Context]:
    """The steps that the recipe needs, over one run directory; with `bundles_dir` it publishes at its end."""
    steps = steps_of(context.recipe, context.data_dir, context.language_model, publish=context.bundles_dir is not None)
    return Line(steps, context, RunDir(out_dir), context.progress)


def steps_of(
    recipe: Recipe, data_dir: Path | None, language_model: LanguageModelSettings, *, publish: bool = False
) -> list[Step[Context]]:
    """The recipe's steps in order. `language_model`: what backend "auto" means is part of what profiles are."""
    return [
        *_prepare(recipe, data_dir),
        *_teach(recipe, data_dir, language_model),
        *_lists(recipe),
        *_train(recipe, data_dir),
        *_deliver(recipe, publish=publish),
    ]


def _prepare(recipe: Recipe, data_dir: Path | None) -> list[Step[Context]]:
    said, code = recipe.as_json(), ("offline.data.split",)
    read = {"data": said["data"], "files": prepare.listing(data_dir)}
    steps = [
        Step("data", prepare.data_step, config=read, code=("offline.data",)),
        Step("split", prepare.split_step, ("data",), {"split": said["split"]}, code),
    ]
    if recipe.protocol == "refit":
        steps.append(Step("split_refit", prepare.split_refit_step, ("data",), {"split": said["split"]}, code))
    return steps


def _teach(recipe: Recipe, data_dir: Path | None, language_model: LanguageModelSettings) -> list[Step[Context]]:
    said, knowledge = recipe.as_json(), recipe.knowledge()
    encoder = {"encoder": said["encoder"]}
    encoding = ("offline.profiles.encoder", "offline.profiles.windows", "offline.profiles.tfidf")
    reducer = {"reducer": said["reducer"]}
    steps: list[Step[Context]] = []
    if "users" in knowledge:
        asked = {"profiles": said["profiles"], **teach.written_by(recipe.profiles, data_dir, language_model)}
        written = ("offline.profiles",)
        steps += [
            Step("profiles", teach.profiles_step, ("data", "split"), asked, written, queue="gpu-llm", resumes=True),
            Step("vectors", teach.vectors_step, ("profiles",), encoder, encoding, queue="gpu-train", resumes=True),
            Step("teacher", teach.teacher_step, ("vectors",), reducer, ("offline.profiles.reducer",)),
        ]
    if "items" in knowledge:
        steps.append(Step("items", teach.items_step, ("data",), encoder, encoding, queue="gpu-train", resumes=True))
    return steps


def _lists(recipe: Recipe) -> list[Step[Context]]:
    """Lists of a teacher that makes them: apart from the training, so that seeds, weights and students share them."""
    knowledge, config = recipe.knowledge(), recipe.teacher
    if "lists" not in knowledge or not config.makes_lists:
        return []
    said = recipe.as_json()["teacher"]
    shaped = {key: said[key] for key in ("lists", "item_control", "seed", config.lists)}
    items, code = (("items",) if "items" in knowledge else ()), ("offline.teachers",)
    steps = []
    if recipe.finds_epochs:
        steps.append(Step("lists", lists.lists_step, ("split", *items), shaped, code, queue="gpu-train"))
    if recipe.protocol == "refit":
        steps.append(
            Step("lists_refit", lists.lists_refit_step, ("split_refit", *items), shaped, code, queue="gpu-train")
        )
    return steps


def _given_lists(recipe: Recipe, data_dir: Path | None) -> dict[str, str]:
    """State of the files behind `lists_path`: other files under the same name are another teacher."""
    path = lists.beside_data(recipe.teacher, data_dir).lists_path
    if "lists" not in recipe.knowledge() or recipe.teacher.makes_lists or path is None or not path.is_dir():
        return {}
    return {"lists_files": hash_listing(path)}


def _train(recipe: Recipe, data_dir: Path | None) -> list[Step[Context]]:
    said, taught = recipe.as_json(), _taught(recipe)
    made = ("lists",) if "lists" in recipe.knowledge() and recipe.teacher.makes_lists else ()
    sections = ("student", "training", "objectives", *(("teacher",) if recipe.knowledge() else ()))
    shaped = {section: said[section] for section in sections} | _given_lists(recipe, data_dir)
    steps = []
    if recipe.finds_epochs:
        needs = ("split", *taught, *made)
        steps.append(Step("train", train.train_step, needs, shaped, _TRAINING_CODE, queue="gpu-train", resumes=True))
    if recipe.protocol == "refit":
        found = ("train",) if recipe.finds_epochs else ()
        needs = ("split_refit", *found, *taught, *(f"{name}_refit" for name in made))
        steps.append(Step("refit", train.refit_step, needs, shaped, _TRAINING_CODE, queue="gpu-train", resumes=True))
    return steps


def _taught(recipe: Recipe) -> tuple[str, ...]:
    """The steps that leave what the teacher knows."""
    knowledge = recipe.knowledge()
    return tuple(step for step, part in (("teacher", "users"), ("items", "items")) if part in knowledge)


def _deliver(recipe: Recipe, *, publish: bool) -> list[Step[Context]]:
    said = recipe.as_json()
    refit = recipe.protocol == "refit"
    weights, asked = ("refit", "split_refit") if refit else ("train", "split")
    splits = tuple(dict.fromkeys(("split", asked)))
    found = ("train",) if recipe.finds_epochs else ()
    exporting = ("offline.export", "offline.students")
    measuring = ("offline.evaluation", "shared.scoring")
    sealing = ("offline.seal", "shared.bundle")
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
