"""The objective that docs/guides/adding_an_objective.md shows is found by the name of its two files and trains."""

import re
import tomllib
from pathlib import Path

import pytest
import torch

import retort.offline.distillation
import retort.offline.distillation.configs
from retort.offline.common.plugins import load_plugin
from retort.offline.common.progress import Silent
from retort.offline.distillation._base import Objective
from retort.offline.experiments.plan_files import parse_plan
from retort.offline.recipes.recipe import OBJECTIVES
from retort.offline.students import sasrec
from retort.offline.training.config import TrainingConfig
from retort.offline.training.loop import fit
from tests.offline._worlds import ring, teacher_of

PAGE = Path(__file__).parents[3] / "docs" / "guides" / "adding_an_objective.md"


def block(kind: str, place: int) -> str:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[place]


def test_the_two_files_train_and_its_experiment_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, package in enumerate((retort.offline.distillation.configs, retort.offline.distillation)):
        folder = tmp_path / str(place)
        folder.mkdir()
        (folder / "text_pull.py").write_text(block("python", place), encoding="utf-8")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    module = load_plugin(OBJECTIVES, "text_pull")
    split = ring()
    torch.manual_seed(0)
    student = sasrec.Model(sasrec.Config(max_length=8, embedding_dim=8), len(split.item_index))
    named = tomllib.loads(block("toml", 0))["objectives"][0]
    objective = module.Model(module.Config(**named), student, teacher_of(split))
    assert isinstance(objective, Objective)
    config = TrainingConfig(epochs=4, batch_size=32, negatives=8, warmup_steps=2)
    log = fit(student, split, [objective], config, Silent(), tmp_path).log
    assert log[-1].objectives["text_pull"] < log[0].objectives["text_pull"]
    plan = parse_plan("pull", tomllib.loads(block("toml", 1)), tmp_path)
    assert plan.recipe("text pull, shuffled", "sasrec", {}).teacher.item_control == "shuffled"
