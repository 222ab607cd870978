"""The key of a step holds exactly the code that shapes its files: no stale work is found, no work is lost in vain."""

import dataclasses
import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from retort.offline.common.progress import Silent
from retort.offline.pipeline import code_hash
from retort.offline.pipeline.build import make_pipeline, make_steps
from retort.offline.pipeline.code_hash import OBSERVERS, code_of, hash_code
from retort.offline.pipeline.context import RunContext
from retort.offline.pipeline.dag import Step
from retort.offline.recipes.recipe import load_recipe
from retort.shared.base.settings import LanguageModelSettings
from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database

TINY = str(Path(__file__).parents[2] / "tiny.toml")
NO_SERVER = LanguageModelSettings(_env_file=None, openai_base_url=None, openai_api_key=None)  # type: ignore[call-arg]
REPOSITORY = Path(__file__).parents[3]

LISTS = ("objectives.0.name=mutual", "teacher.lists=mutual")
TUNED = ("objectives.0.name=text_start", "teacher.items=tuned")
TRAINING = {"train", "refit"}
ALL = {"data", "split", "split_refit", "profiles", "vectors", "teacher", *TRAINING, "export", "evaluate", "seal"}


def steps_of(*knobs: str) -> list[Step[RunContext]]:
    return make_steps(load_recipe(TINY, knobs), None, NO_SERVER)


def keys(steps: list[Step[RunContext]]) -> dict[str, str]:
    return {step.name: hash_code(step.act, step.plugins) for step in steps}


def path_of(name: str) -> Path:
    """File of a module below `retort`, or a data file given by its path."""
    return REPOSITORY / (name if "/" in name else f"{name.replace('.', '/')}.py")


@pytest.mark.parametrize(
    ("changed", "knobs", "expected"),
    [
        ("offline.students.sasrec", (), {*TRAINING, "export"}),
        ("offline.students.gru4rec", (), set()),
        ("offline.students.configs.sasrec", (), {*TRAINING, "export"}),
        ("offline.distillation.profile", (), TRAINING),
        ("offline.distillation.relational", (), set()),
        ("offline.training.loop", (), TRAINING),
        ("offline.training.training_run", (), TRAINING),
        ("offline.losses.softmax", (), TRAINING),
        ("offline.data.sources.synthetic", (), {"data"}),
        ("offline.data.sources.kion", (), set()),
        ("offline.data.events", (), {"data"}),
        ("offline.data.tables", (), {"data", "split", "split_refit", "profiles", "evaluate", "seal"}),
        ("offline.data.ragged", (), ALL - {"vectors", "teacher"}),
        ("offline.profiles.generator", (), {"profiles"}),
        ("offline.profiles.backends.template", (), {"profiles"}),
        ("offline.profiles.backends.vllm", (), set()),
        ("offline/profiles/templates/system.txt", (), {"profiles"}),
        ("offline.embeddings.text_model", (), {"vectors"}),
        ("offline.embeddings.encoder", (), {"vectors"}),
        ("offline.embeddings.reducer", (), {"teacher"}),
        ("offline.embeddings.reducer_config", (), {"teacher"}),
        ("offline.embeddings.umap_fit", (), {"teacher"}),
        ("offline.export.onnx", (), {"export"}),
        ("offline.evaluation.metrics", (), {*TRAINING, "evaluate"}),
        ("offline.export.bundle_builder", (), {"seal"}),
        ("shared.model.sealed_files", (), {"export", "evaluate", "seal"}),
        ("offline.common.progress", (), set()),
        ("offline.recipes.recipe", (), set()),
        ("offline.recipes.recipe_files", (), set()),
        ("offline.pipeline.dag", (), set()),
        ("shared.base.settings", (), set()),
        ("offline.teachers.text_encoder", LISTS, {"lists", "lists_refit"}),
        ("offline.teachers.text_encoder", (), set()),
        ("offline.training.mutual_distillation", LISTS, {"lists", "lists_refit"}),
        ("offline/teachers/templates/title_generation.txt", LISTS, {"lists", "lists_refit"}),
        ("offline.students.sasrec", LISTS, {"lists", "lists_refit", *TRAINING, "export"}),
        ("offline.teachers.tuned_encoder", TUNED, {"tuned_items"}),
        ("offline.embeddings.text_model", TUNED, {"tuned_items"}),
    ],
)
def test_a_changed_file_changes_exactly_the_steps_that_import_it(
    changed: str, knobs: tuple[str, ...], expected: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, target = steps_of(*knobs), path_of(changed)
    assert target.is_file()

    def hash_of(path: Path) -> str:
        return "another content" if path.samefile(target) else path.name

    def keys_by(hash_file: Callable[[Path], str]) -> dict[str, str]:
        if target.suffix != ".py":  # a parsed module keeps the hashes of its data files
            code_hash._parsed.cache_clear()
        monkeypatch.setattr(code_hash, "hash_file_once", hash_file)
        return keys(steps)

    before, after = keys_by(lambda path: path.name), keys_by(hash_of)
    if target.suffix != ".py":
        code_hash._parsed.cache_clear()
    assert {name for name in before if before[name] != after[name]} == expected


_PRINT_KEYS = f"""
import json
from retort.offline.pipeline.build import make_steps
from retort.offline.pipeline.code_hash import hash_code
from retort.offline.recipes.recipe import load_recipe
from retort.shared.base.settings import LanguageModelSettings
settings = LanguageModelSettings(_env_file=None, openai_base_url=None, openai_api_key=None)
steps = make_steps(load_recipe({TINY!r}), None, settings)
print(json.dumps({{step.name: hash_code(step.act, step.plugins) for step in steps}}))
"""


def keys_in(root: Path) -> dict[str, str]:
    """The keys that an installation in another place gives, in a fresh interpreter."""
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(root)!r})\n{_PRINT_KEYS}"],
        env=environment,
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    )
    printed: dict[str, str] = json.loads(done.stdout)
    return printed


def test_keys_depend_on_the_code_and_not_on_the_place_of_installation(tmp_path: Path) -> None:
    for package in ("offline", "shared", "recipes"):
        shutil.copytree(
            REPOSITORY / package, tmp_path / "retort" / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    for file in (REPOSITORY / "retort").glob("*.py"):
        shutil.copy(file, tmp_path / "retort")
    before = keys_in(tmp_path)
    assert before == keys(steps_of())
    with (tmp_path / "retort" / "offline" / "students" / "sasrec.py").open("a") as file:
        file.write("# another version\n")
    prepare = tmp_path / "retort" / "offline" / "pipeline" / "prepare.py"
    prepare.write_text(
        prepare.read_text().replace("def split_step", "# another version\n@staticmethod\ndef split_step")
    )
    after = keys_in(tmp_path)
    assert {name for name in before if before[name] != after[name]} == {*TRAINING, "export", "split"}


@contextmanager
def recorded_calls(found: set[tuple[str, str]]) -> Iterator[None]:
    """Record the module and the top-level name of every function of Retort that is called in the block."""

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_name != "<module>":
            module = frame.f_globals.get("__name__", "")
            if module.startswith("retort."):
                found.add((module, code.co_qualname.partition(".")[0]))

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)


def test_every_function_that_a_step_calls_is_in_its_key(tmp_path: Path) -> None:
    """The keys are derived from the text of the code; here they are compared with what really runs."""
    url = f"sqlite:///{tmp_path / 'retort.db'}"
    upgrade(url)
    context = RunContext(load_recipe(TINY), None, open_database(url), NO_SERVER, Silent())
    pipeline = make_pipeline(context, tmp_path / "out")
    code = {name: code_of(step.act, step.plugins) for name, step in pipeline.steps.items()}
    for module in {key.partition(":")[0] for keys in code.values() for key in keys if "/" not in key}:
        importlib.import_module(module)  # what runs at import is not a call of the step
    called: dict[str, set[tuple[str, str]]] = {name: set() for name in code}

    def recorded(act: Callable[..., None], name: str, *args: Any) -> None:
        with recorded_calls(called[name]):
            act(*args)

    for name, step in pipeline.steps.items():
        pipeline.steps[name] = dataclasses.replace(step, act=partial(recorded, step.act, name))
    for name in pipeline.steps:
        pipeline.ensure(name)
    observers = tuple(OBSERVERS)
    missed = {
        (name, module, function)
        for name, calls in called.items()
        for module, function in calls
        if not {module, f"{module}:{function}"} & code[name].keys()
        and not any(module == observer or module.startswith(f"{observer}.") for observer in observers)
    }
    assert missed == set()
    assert all(called.values()), "every step was recorded"
