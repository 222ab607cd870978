"""Runs the line again and again, each time killing itself in another step. Argument: a directory.

Each attempt is a fork of this process, which has imported everything and computed nothing: no attempt pays for torch's
import, and no thread is lost in a fork. Prints one JSON object an attempt.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sentence_transformers  # noqa: F401 - paid for once, before the forks
import torch

import retort.offline.embeddings.encoder
import retort.offline.embeddings.reducer
import retort.offline.evaluation.evaluate
import retort.offline.export.bundle_builder
import retort.offline.export.onnx
import retort.offline.profiles.generator
import retort.offline.teachers.build
import retort.offline.training.loop  # noqa: F401
from retort.offline.pipeline import artifact_store
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import RunContext, bundle_path
from retort.offline.pipeline.dag import Pipeline
from retort.offline.recipes.recipe import load_recipe
from retort.shared.base.hashing import hash_file
from retort.shared.base.settings import LanguageModelSettings
from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database
from retort.shared.model.bundle import MODEL

_RECIPE = Path(__file__).parent.parent / "tiny.toml"


class Killer:
    """Listens to progress; kills its own process at the named place."""

    def __init__(self, at: str | None, diary: Path) -> None:
        self.at = at
        self.diary = diary

    def update(self, what: str, done: int, total: int | None) -> None:
        if what == "epoch":
            with self.diary.open("a") as file:
                file.write(f"{self.at} {done}\n")
            if self.at == "train, second epoch" and done == 2:
                _die()

    def say(self, line: str) -> None:
        """Nobody reads it."""


def main() -> None:
    directory = Path(sys.argv[1])
    steps = list(_line(directory / "names", None).steps)
    for step in steps:
        for place in [step] if step != "train" else ["train, second epoch", "train"]:
            _forked(lambda place=place: _run(directory / "interrupted", place), place)
    _forked(lambda: _run(directory / "interrupted", None), "nowhere")
    _forked(lambda: _run(directory / "whole", None), "nowhere")


def _run(root: Path, killed_at: str | None) -> dict[str, Any]:
    torch.set_num_threads(1)
    seal = artifact_store._seal

    def seal_unless_killed(partial: Path, name: str, *rest: Any) -> str:
        # everything is written, and nothing has its final name
        if name == killed_at:
            _die()
        return seal(partial, name, *rest)

    artifact_store._seal = seal_unless_killed
    pipeline = _line(root, killed_at)
    finished = [pipeline.ensure(name) for name in pipeline.steps]
    return {
        "skipped": [one.name for one in finished if one.skipped],
        "epochs": (root / "diary").read_text().splitlines(),
        "graph": hash_file(pipeline.ensure_path("export") / MODEL),
        "bundle": str(bundle_path(pipeline)),
    }


def _line(root: Path, killed_at: str | None) -> Pipeline[RunContext]:
    root.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{root / 'retort.db'}"
    upgrade(url)
    # no settings from the environment: a language model must not be called by a test
    nobody = LanguageModelSettings(openai_base_url=None, openai_api_key=None)
    context = RunContext(load_recipe(str(_RECIPE)), None, open_database(url), nobody, Killer(killed_at, root / "diary"))
    return make_pipeline(context, root / "out")


def _forked(act: Callable[[], dict[str, Any]], place: str) -> None:
    pid = os.fork()
    if pid == 0:
        print(json.dumps({"ran": act()}), flush=True)
        os._exit(0)
    _, how = os.waitpid(pid, 0)
    killed = os.WIFSIGNALED(how) and os.WTERMSIG(how) == signal.SIGKILL
    print(json.dumps({"place": place, "killed": killed, "status": how}), flush=True)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
