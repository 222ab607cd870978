"""The wheel installs `retort` alone, works beside a foreign top-level `shared`, and equals the sdist's wheel."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ("offline", "serving", "shared", "recipes")
DATA_FILES = (
    "retort/py.typed",
    "retort/recipes/demo.toml",
    "retort/recipes/ctr/ml1m.toml",
    "retort/recipes/experiments/ml100k_smoke.toml",
    "retort/recipes/published/ecir26.toml",
    "retort/offline/knowledge/templates/describe.txt",
    "retort/offline/knowledge/templates/fields/products.txt",
    "retort/offline/profiles/templates/system.txt",
    "retort/offline/profiles/templates/json/movies.txt",
    "retort/offline/profiles/templates/aspects/movies/genres.txt",
    "retort/offline/teachers/templates/item_head.txt",
    "retort/serving/console/index.html",
    "retort/serving/console/console.js",
    "retort/shared/db/migrations/script.py.mako",
)
_USES_BOTH = """
import shared
assert shared.OWNER == "somebody else", shared.__file__
import retort, retort.shared.base.schema
assert retort.__file__.startswith({target!r}), retort.__file__
assert retort.__version__ != "0+unknown"
assert retort.shared.base.schema.PAD == 0
from retort.offline.recipes.recipe import load_recipe
assert load_recipe("demo").name == "demo"
import retort.serving.api.app
from retort.shared.db.migrate import upgrade
upgrade("sqlite:///fresh.db")
import shared.more
assert shared.more.VALUE == 1
"""


def wheel_of(source: Path, out: Path) -> Path:
    """Build a wheel without a network; setuptools comes from this environment."""
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-q", "-w", out]
    subprocess.run([*command, source], check=True, capture_output=True, text=True)
    (wheel,) = out.glob("*.whl")
    return wheel


def files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout's files, without what building or testing has left in it."""
    copy = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in (*CODE, "clients", "retort"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel_of(source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel and another distribution's package `shared`."""
    target = tmp_path_factory.mktemp("site")
    (target / "shared").mkdir()
    (target / "shared" / "__init__.py").write_text('OWNER = "somebody else"\n')
    (target / "shared" / "more.py").write_text("VALUE = 1\n")
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "-q", "--target", target, wheel]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return target


def run_outside(installed: Path, folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a fresh process outside the checkout, whose path holds the wheel but not the checkout."""
    hide = f"import sys; sys.path[:] = [path for path in sys.path if path.rstrip('/') != {str(ROOT)!r}]"
    (folder / "sitecustomize.py").write_text(hide + "\n")
    environment = {
        **{name: value for name, value in os.environ.items() if name != "DATABASE_URL"},
        "PYTHONPATH": os.pathsep.join([str(folder), str(installed)]),
        "RETORT_HOME": str(folder / "home"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(args, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_the_wheel_holds_the_package_retort_alone(wheel: Path) -> None:
    top = {name.split("/")[0] for name in files(wheel)}
    assert {name for name in top if not name.endswith(".dist-info")} == {"retort"}
    assert len(top) == 2


def test_every_module_and_data_file_is_in_the_wheel(wheel: Path) -> None:
    inside = files(wheel)
    assert set(DATA_FILES) - inside == set()
    wanted = {
        f"retort/{path.relative_to(ROOT)}"
        for name in CODE
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted - inside == set()


def test_both_packages_work_in_one_environment(installed: Path, tmp_path: Path) -> None:
    code = _USES_BOTH.format(target=str(installed))
    done = run_outside(installed, tmp_path, sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr


def test_import_retort_and_both_console_scripts_work(installed: Path, tmp_path: Path) -> None:
    done = run_outside(installed, tmp_path, sys.executable, "-c", "import retort; print(retort.__file__)")
    assert done.stdout.startswith(str(installed)), done.stderr
    for script, word in (("retort", "bootstrap"), ("retort-serve", "RETORT_")):
        done = run_outside(installed, tmp_path, sys.executable, str(installed / "bin" / script), "--help")
        assert done.returncode == 0, done.stderr
        assert word in done.stdout


def test_the_sdist_builds_the_same_wheel(source: Path, wheel: Path, tmp_path: Path) -> None:
    build = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    command = [sys.executable, "-c", build, str(tmp_path)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, text=True)
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert files(wheel_of(unpacked, tmp_path / "wheel")) == files(wheel)


def test_the_client_is_a_distribution_of_its_own(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "clients", tmp_path / "clients", ignore=shutil.ignore_patterns("__pycache__", "build"))
    top = {name.split("/")[0] for name in files(wheel_of(tmp_path / "clients", tmp_path / "wheel"))}
    assert {name for name in top if not name.endswith(".dist-info")} == {"retort_client"}
