"""The offline line: what each step does, from files to files.

    data → split → profiles → vectors → teacher → train → refit → export → evaluate → seal

A step reads the directories of the steps it needs and writes its own; `offline/line.py` names, skips and resumes it.
A plain recipe has no profiles, vectors and teacher; protocol "held" has no refit. The CLI and the Celery tasks both
perform these steps and no others.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl
from sqlalchemy import Engine

from offline.data.load import Loaded, load, load_saved, save_loaded
from offline.data.split import Cases, Split, make_split, train_popularity
from offline.data.split_store import load_split, save_split
from offline.line import Line, Step
from offline.plugins import load_plugin
from offline.profiles.config import IMPORTED, ProfilesConfig
from offline.progress import Progress
from offline.recipe import OBJECTIVES, STUDENTS, Recipe
from offline.run_dir import RunDir, hash_listing
from shared.errors import DataError
from shared.settings import LanguageModelSettings

STUDENT_FILE = "student.safetensors"
TRAINING_FILE = "training.json"
METRICS_FILE = "metrics.json"
USERS_FILE = "users.parquet"
BUNDLE_FILE = "bundle.json"

Act = Callable[["Line[Context]", Path], None]


@dataclass(frozen=True)
class Context:
    """What the steps are told: the recipe, where the raw data lies, where profiles are kept, and who listens."""

    recipe: Recipe
    data_dir: Path | None
    engine: Engine
    language_model: LanguageModelSettings
    progress: Progress


def open_line(context: Context, out_dir: Path) -> Line[Context]:
    """The steps that the recipe needs, over one run directory."""
    return Line(steps_of(context.recipe, context.data_dir), context, RunDir(out_dir), context.progress)


def steps_of(recipe: Recipe, data_dir: Path | None) -> list[Step[Context]]:
    """The recipe's steps in order, each with all that shapes it."""
    said = recipe.as_json()
    knowledge = recipe.knowledge()
    refit = recipe.protocol == "refit"
    taught = tuple(step for step, part in (("teacher", "users"), ("items", "items")) if part in knowledge)
    training = {
        key: said[key] for key in ("student", "training", "objectives", "teacher") if taught or key != "teacher"
    }
    trained = "refit" if refit else "train"
    asked = "split_refit" if refit else "split"
    code = ("offline.students", "offline.distillation", "offline.training", "offline.teachers")
    steps: list[Step[Context]] = [
        Step("data", _data, config={"data": said["data"], "files": _listing(data_dir)}, code=("offline.data",)),
        Step("split", _split, ("data",), {"split": said["split"]}, ("offline.data.split",)),
    ]
    if refit:
        steps.append(Step("split_refit", _split_refit, ("data",), {"split": said["split"]}, ("offline.data.split",)))
    if "users" in knowledge:
        steps += [
            Step(
                "profiles",
                _profiles,
                ("data", "split"),
                {"profiles": said["profiles"], "file": _profile_file(recipe.profiles, data_dir)},
                ("offline.profiles",),
                queue="gpu",
                resumes=True,
            ),
            Step("vectors", _vectors, ("profiles",), {"encoder": said["encoder"]}, queue="gpu", resumes=True),
            Step("teacher", _teacher, ("vectors",), {"reducer": said["reducer"]}, ("offline.profiles.reducer",)),
        ]
    if "items" in knowledge:
        steps.append(Step("items", _items, ("data",), {"encoder": said["encoder"]}, queue="gpu", resumes=True))
    steps.append(Step("train", _train, ("split", *taught), training, code, queue="gpu", resumes=True))
    if refit:
        needs = ("split_refit", "train", *taught)
        steps.append(Step("refit", _refit, needs, training, code, queue="gpu", resumes=True))
    return [
        *steps,
        Step("export", _export, (trained, asked), {"student": said["student"]}, ("offline.export", "offline.students")),
        Step(
            "evaluate",
            _evaluate,
            ("data", "split", asked, "train", "export"),
            {"evaluation": said["evaluation"]},
            ("offline.evaluation", "shared.scoring"),
        ),
        Step(
            "seal",
            _seal,
            ("data", asked, "export", "evaluate", "train"),
            {"recipe": said},
            ("offline.seal", "shared.bundle"),
        ),
    ]


@dataclass(frozen=True)
class Outcome:
    """What a finished run has to show. baselines: name → metrics of rankers that need no student."""

    bundle: Path
    test: dict[str, float]
    validation: dict[str, float]
    slices: dict[str, dict[str, float]]
    baselines: dict[str, dict[str, float]]
    per_user: Path


def run_line(line: Line[Context]) -> Outcome:
    """Do all steps, in order, and read what came out."""
    for name in line.steps:
        finished = line.do(name)
        line.progress.say(f"{name}: {'already done' if finished.skipped else 'done'} ({finished.path.name})")
    return outcome_of(line)


def outcome_of(line: Line[Context]) -> Outcome:
    """The outcome of a line whose steps are done."""
    metrics = orjson.loads((line.path("evaluate") / METRICS_FILE).read_bytes())
    return Outcome(
        bundle=bundle_of(line),
        test=metrics["test"],
        validation=metrics["validation"],
        slices=metrics["slices"],
        baselines=metrics["baselines"],
        per_user=line.path("evaluate") / USERS_FILE,
    )


def bundle_of(line: Line[Context]) -> Path:
    """Where the sealed bundle lies."""
    said = orjson.loads((line.path("seal") / BUNDLE_FILE).read_bytes())
    return line.run_dir.bundles / said["bundle_id"]


def _listing(data_dir: Path | None) -> str | None:
    if data_dir is None:
        return None
    if not data_dir.exists():
        raise DataError(f"there is no directory {data_dir}; name the one with the raw data by --data.")
    return hash_listing(data_dir)


def _profile_file(config: ProfilesConfig, data_dir: Path | None) -> str | None:
    if config.backend != IMPORTED:
        return None
    path = Path(str(_beside_data(config, data_dir).options["path"]))
    return hash_listing(path) if path.is_file() else None


def _beside_data(config: ProfilesConfig, data_dir: Path | None) -> ProfilesConfig:
    """Ready profiles named by a relative path lie in the data directory."""
    path = config.options.get("path")
    if config.backend != IMPORTED or path is None or data_dir is None or Path(str(path)).is_absolute():
        return config
    return config.model_copy(update={"options": {**config.options, "path": str(data_dir / str(path))}})


def _data(line: Line[Context], work: Path) -> None:
    context = line.context
    save_loaded(load(context.recipe.data, context.data_dir, context.progress), work)


def _split(line: Line[Context], work: Path) -> None:
    save_split(make_split(_loaded(line).interactions, line.context.recipe.split, "held"), work)


def _split_refit(line: Line[Context], work: Path) -> None:
    save_split(make_split(_loaded(line).interactions, line.context.recipe.split, "refit"), work)


def _profiles(line: Line[Context], work: Path) -> None:
    # From the held split under both protocols: what is written must not know the validation events either.
    from offline.profiles.generator import profiles_table, write_profiles
    from offline.profiles.history import user_histories
    from offline.profiles.store import ProfileStore

    context = line.context
    loaded, split = _loaded(line), load_split(line.path("split"))
    config = _beside_data(context.recipe.profiles, context.data_dir)
    store = ProfileStore(context.engine)

    def histories() -> Any:
        return user_histories(split, loaded.interactions)

    report = write_profiles(histories(), loaded.items, config, store, context.language_model, context.progress)
    table = profiles_table(histories(), loaded.items, config, store, report)
    table.write_parquet(work / "profiles.parquet")


def _vectors(line: Line[Context], work: Path) -> None:
    from offline.profiles.encoder import encode_profiles
    from offline.profiles.vectors import write_vectors

    context = line.context
    table = pl.read_parquet(line.path("profiles") / "profiles.parquet")
    vectors = encode_profiles(table, context.recipe.encoder, context.progress, cache_path=work / "cache.sqlite")
    write_vectors(work / "vectors.parquet", vectors.ids, vectors.vectors)
    _forget_cache(work)


def _items(line: Line[Context], work: Path) -> None:
    from offline.profiles.encoder import encode_items
    from offline.profiles.vectors import write_vectors

    context = line.context
    vectors = encode_items(
        _loaded(line).items, context.recipe.encoder, context.progress, cache_path=work / "cache.sqlite"
    )
    write_vectors(work / "vectors.parquet", vectors.ids, vectors.vectors, "item_id")
    _forget_cache(work)


def _forget_cache(work: Path) -> None:
    """The cache served a killed encoding; what is finished needs it no more."""
    for file in work.glob("cache.sqlite*"):
        file.unlink()


def _teacher(line: Line[Context], work: Path) -> None:
    from offline.profiles.reducer import fit_reducer
    from offline.profiles.vectors import read_vectors, write_vectors

    stored = read_vectors(line.path("vectors") / "vectors.parquet")
    reduced = fit_reducer(stored.vectors, line.context.recipe.reducer, line.context.progress)
    reduced.reducer.save(work / "reducer")
    write_vectors(work / "vectors.parquet", stored.ids, reduced.vectors)


def _train(line: Line[Context], work: Path) -> None:
    from offline.evaluation.evaluate import means

    recipe = line.context.recipe
    fitted = _fit(line, load_split(line.path("split")), work, None)
    ranks = fitted.validation_ranks
    validation = means(ranks, recipe.evaluation.k) if ranks is not None else {}
    _write_training(work, fitted, validation)


def _refit(line: Line[Context], work: Path) -> None:
    best_epoch = orjson.loads((line.path("train") / TRAINING_FILE).read_bytes())["best_epoch"]
    fitted = _fit(line, load_split(line.path("split_refit")), work, best_epoch)
    _write_training(work, fitted, {})


def _fit(line: Line[Context], split: Split, work: Path, stop_after: int | None) -> Any:
    import torch
    from safetensors.torch import save_file

    from offline.teachers.build import build_teacher
    from offline.training.checkpoint import CHECKPOINT
    from offline.training.loop import fit

    recipe, progress = line.context.recipe, line.context.progress
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    student = _new_student(recipe, len(split.item_index)).to(device)
    objectives = []
    if recipe.objectives:
        knowledge = recipe.knowledge()
        users = line.path("teacher") / "vectors.parquet" if "users" in knowledge else None
        items = line.path("items") / "vectors.parquet" if "items" in knowledge else None
        teacher = build_teacher(split, users, items, recipe.teacher, progress)
        with torch.random.fork_rng():
            torch.manual_seed(recipe.training.seed + 1)
            for config in recipe.objectives:
                model = load_plugin(OBJECTIVES, config.name).Model
                objectives.append(model(config, student, teacher).to(device))
    fitted = fit(student, split, objectives, recipe.training, progress, work, stop_after=stop_after)
    save_file({name: value.contiguous().cpu() for name, value in student.state_dict().items()}, work / STUDENT_FILE)
    (work / CHECKPOINT).unlink(missing_ok=True)
    return fitted


def _new_student(recipe: Recipe, n_items: int) -> Any:
    import torch

    torch.manual_seed(recipe.training.seed)
    return load_plugin(STUDENTS, recipe.student_name).Model(recipe.student, n_items)


def _write_training(work: Path, fitted: Any, validation: dict[str, float]) -> None:
    said = {
        "best_epoch": fitted.best_epoch,
        "validation": validation,
        "log": [asdict(entry) for entry in fitted.log],
    }
    (work / TRAINING_FILE).write_bytes(orjson.dumps(said, option=orjson.OPT_INDENT_2))


def _export(line: Line[Context], work: Path) -> None:
    import numpy as np
    from safetensors.torch import load_file

    from offline.export import export_student, item_vectors
    from shared.bundle import ITEM_VECTORS, MODEL

    split = load_split(line.path(asked_split(line)))
    student = _new_student(line.context.recipe, len(split.item_index))
    student.load_state_dict(load_file(line.path(_trained(line)) / STUDENT_FILE))
    (work / MODEL).write_bytes(export_student(student))
    np.save(work / ITEM_VECTORS, item_vectors(student), allow_pickle=False)


def _evaluate(line: Line[Context], work: Path) -> None:
    from offline.evaluation.evaluate import (
        GraphRanker,
        PopularityRanker,
        evaluate,
        per_user,
        slices,
        summarise,
    )
    from shared.bundle import MODEL
    from shared.scoring import Scorer

    context = line.context
    recipe, config = context.recipe, context.recipe.evaluation
    split, loaded = load_split(line.path(asked_split(line))), _loaded(line)
    n_items = len(split.item_index)
    graph = (line.path("export") / MODEL).read_bytes()
    ranker = GraphRanker(Scorer(graph, n_items=n_items, max_length=recipe.student.max_length))
    test = evaluate(ranker, split.test, config, context.progress, "scoring the test")
    popular = evaluate(
        PopularityRanker(train_popularity(split)), split.test, config, context.progress, "scoring popularity"
    )
    subsets = _subsets(loaded, split, config.subsets)
    said = {
        "protocol": recipe.protocol,
        "seen_hidden": config.hide_seen,
        "cases": len(split.test),
        "cold_targets": _cold(split.test),
        "test": summarise(test, config, n_items),
        "slices": slices(test, split.test, split, config, subsets),
        "validation": orjson.loads((line.path("train") / TRAINING_FILE).read_bytes())["validation"],
        "baselines": {"popularity": summarise(popular, config, n_items)},
    }
    (work / METRICS_FILE).write_bytes(orjson.dumps(said, option=orjson.OPT_INDENT_2))
    per_user(test, split.test, split).write_parquet(work / USERS_FILE)


def _cold(cases: Cases) -> int:
    return int((cases.targets == 0).sum())


def _subsets(loaded: Loaded, split: Split, names: tuple[str, ...]) -> dict[str, Any]:
    """name → (n_users,) bool, joined to the split's users by id; a user without a flag is outside."""
    if not names:
        return {}
    if loaded.users is None:
        raise DataError(f"[evaluation] subsets names {names[0]!r}, but the data has no users table; add its file.")
    missing = [name for name in names if loaded.users.schema.get(name) != pl.Boolean]
    if missing:
        raise DataError(f"the users table has no true/false column {missing[0]!r}; it has: {loaded.users.columns}.")
    users = pl.DataFrame({"user_id": list(split.user_ids)}).join(loaded.users, on="user_id", how="left")
    return {name: users[name].fill_null(False).to_numpy() for name in names}


def _seal(line: Line[Context], work: Path) -> None:
    from offline.seal import seal

    recipe = line.context.recipe
    bundle_id = seal(
        line.run_dir.bundles,
        recipe=recipe.as_json(),
        loaded=_loaded(line),
        split=load_split(line.path(asked_split(line))),
        exported=line.path("export"),
        metrics=orjson.loads((line.path("evaluate") / METRICS_FILE).read_bytes()),
    )
    (work / BUNDLE_FILE).write_bytes(orjson.dumps({"bundle_id": bundle_id}))


def _loaded(line: Line[Context]) -> Loaded:
    return load_saved(line.path("data"))


def asked_split(line: Line[Context]) -> str:
    """The split whose test is asked."""
    return "split_refit" if "split_refit" in line.steps else "split"


def _trained(line: Line[Context]) -> str:
    """The step that left the weights."""
    return "refit" if "refit" in line.steps else "train"
