"""Configuration modules: one beside each plug-in's model, and none of them imports torch."""

import subprocess
import sys
from importlib import import_module
from pkgutil import iter_modules

import pytest

from retort.offline.common.plugins import load_config, load_plugin, plugin_names
from retort.offline.distillation.configs._base import ObjectiveConfig
from retort.offline.recipes.recipe import OBJECTIVES, STUDENTS
from retort.offline.students.configs._base import StudentConfig
from retort.shared.base.errors import RecipeError

PLUGINS = [(package, name) for package in (STUDENTS, OBJECTIVES) for name in plugin_names(package)]
CONFIG_MODULES = [
    *(f"{package}.configs.{name}" for package, name in PLUGINS),
    "retort.offline.teachers.config",
    "retort.offline.training.config",
]


@pytest.mark.parametrize(("package", "name"), PLUGINS)
def test_a_plugin_has_a_model_file_and_a_config_file_of_the_same_name(package: str, name: str) -> None:
    config = load_config(package, name)
    assert issubclass(config, StudentConfig if package == STUDENTS else ObjectiveConfig)
    assert load_plugin(package, name).Config is config
    assert config.__module__ == f"{package}.configs.{name}"


@pytest.mark.parametrize("package", [STUDENTS, OBJECTIVES])
def test_no_config_file_is_without_a_model_file(package: str) -> None:
    found = {module.name for module in iter_modules(import_module(f"{package}.configs").__path__)}
    assert found - {"_base"} == set(plugin_names(package))


@pytest.mark.parametrize("package", [STUDENTS, OBJECTIVES])
def test_the_folder_of_configs_is_no_plugin(package: str) -> None:
    assert "configs" not in plugin_names(package)
    with pytest.raises(RecipeError, match="there is no 'configs' among the"):
        load_config(package, "configs")


def test_config_modules_import_no_torch() -> None:
    heavy = ("torch", "transformers", "sentence_transformers", "peft", "sklearn", "scipy", "polars")
    code = "import importlib, sys\n"
    code += "".join(f"importlib.import_module({module!r})\n" for module in CONFIG_MODULES)
    code += f"print(*[name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
