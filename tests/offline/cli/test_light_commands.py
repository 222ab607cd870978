"""Commands that list or report start without torch and the libraries that load it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPT = """
import sys
from retort.offline.cli.main import app
app({arguments!r}, standalone_mode=False)
loaded = [name for name in ("torch", "transformers", "sentence_transformers", "umap", "onnx") if name in sys.modules]
sys.exit(f"loaded: {{loaded}}" if loaded else 0)
"""


def run_fresh(script: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RETORT_", "DATABASE_"))}
    environment |= {"RETORT_HOME": str(home)}
    return subprocess.run(
        [sys.executable, "-c", script], cwd=home, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["recipes"],
        ["recipes", "beauty_sasrec_best"],
        ["models"],
        ["models", "--changes"],
        ["status"],
        ["refresh", "status"],
        ["run", "--help"],
    ],
    ids=" ".join,
)
def test_a_command_that_lists_or_reports_does_not_import_torch(arguments: list[str], tmp_path: Path) -> None:
    done = run_fresh(_SCRIPT.format(arguments=arguments), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_recipes_and_the_steps_of_a_run_do_not_import_torch(tmp_path: Path) -> None:
    """The configuration of every student and objective is read without its model; models load when a step runs."""
    script = """
import sys
from retort.offline.recipes.recipe import load_recipe
from retort.offline.recipes.recipe_files import shipped_recipes
import retort.offline.pipeline.build
for name in shipped_recipes():
    load_recipe(name)
sys.exit("torch" in sys.modules)
"""
    done = run_fresh(script, tmp_path)
    assert done.returncode == 0, done.stderr
