"""Commands, options, recipes, files and variables in README and docs exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import typer

from retort.offline.cli.main import app
from retort.offline.common.progress import Silent
from retort.offline.data.check import find_problems
from retort.offline.recipes.recipe import load_recipe
from retort.serving.runtime.settings import ServingSettings
from retort.shared.base.settings import EmbeddingSettings, LanguageModelSettings, Settings
from tests.pictures import PICTURES, SHOTS, picture_name

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
_COMMAND = re.compile(r"(?:^|[\s`(])retort ((?:[a-z][a-z-]*(?:\|[a-z-]+)* ?)+)([^`\n]*)", re.MULTILINE)
_VARIABLE = re.compile(r"\bRETORT_[A-Z_]+[A-Z]\b")
# Read by Compose, by the client or handed to children; not settings of the programs.
_OTHERS = {"RETORT_API_KEY", "RETORT_HOME", "RETORT_TRAIN_PROCESSES"}


def code(page: Path) -> Iterator[str]:
    """What stands in code blocks and between backticks."""
    text = page.read_text(encoding="utf-8")
    yield from re.findall(r"^```[a-z]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    yield from (f"`{one}`" for one in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text))


def commands() -> dict[str, set[str]]:
    """Every command, such as `data check`, and its options."""
    found: dict[str, set[str]] = {}

    def walk(command: object, name: str) -> None:
        options = {option for parameter in command.params for option in parameter.opts}  # type: ignore[attr-defined]
        found[name] = options
        for child, below in getattr(command, "commands", {}).items():
            walk(below, f"{name} {child}".strip())

    walk(typer.main.get_command(app), "")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_and_option_in_a_page_exists(page: Path) -> None:
    known, wrong = commands(), []
    for text in code(page):
        for words, rest in _COMMAND.findall(re.sub(r"#.*|^.*(kubectl|helm) .*$", "", text, flags=re.MULTILINE)):
            for name in names(words.split()):
                full = next((" ".join(name[:n]) for n in (3, 2, 1) if " ".join(name[:n]) in known), None)
                if full is None or (full in groups(known) and len(name) > 1):
                    wrong.append(f"retort {words}")
                    continue
                wrong += [
                    f"retort {full}: {one}" for one in options(rest) if one not in known[full] and full != "serve"
                ]
    assert not wrong


def names(words: list[str]) -> Iterator[list[str]]:
    """`refresh cancel|resume JOB` names two commands; a group may be in a group."""
    for group in words[0].split("|"):
        for verb in words[1].split("|") if len(words) > 1 else [""]:
            yield [group, verb, *words[2:3]] if verb else [group]


def groups(known: dict[str, set[str]]) -> set[str]:
    return {name.split()[0] for name in known if " " in name}


def options(rest: str) -> list[str]:
    return re.findall(r"--[a-z][a-z-]*", re.split(r"[;&]|\s&&\s", rest)[0])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_serving_variable_in_a_page_is_read(page: Path) -> None:
    read = {f"RETORT_{name.upper()}" for name in ServingSettings.model_fields} | _OTHERS
    assert set(_VARIABLE.findall(page.read_text(encoding="utf-8"))) - read - images() == set()


def images() -> set[str]:
    return set(_VARIABLE.findall((ROOT / "docker-compose.yml").read_text(encoding="utf-8")))


def test_every_variable_of_the_example_file_is_read() -> None:
    named = set(re.findall(r"^#?([A-Z][A-Z_]+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE))
    kinds = (Settings, LanguageModelSettings, EmbeddingSettings)
    programs = {name.upper() for kind in kinds for name in kind.model_fields}
    serving = {f"RETORT_{name.upper()}" for name in ServingSettings.model_fields}
    compose = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text(encoding="utf-8")))
    libraries = {"MLFLOW_TRACKING_URI", "OTEL_EXPORTER_OTLP_ENDPOINT"}
    assert named - programs - serving - compose - libraries == set()


def test_every_linked_file_exists() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_recipe_in_the_guide_reads_the_tables_of_a_shop(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "guides" / "own_data.md").read_text(encoding="utf-8")
    (tmp_path / "shop.toml").write_text(re.findall(r"^```toml\n(# shop.toml.*?)^```", guide, re.M | re.S)[0])
    events = [(f"c{user}", f"A{(user + at) % 7}", 1_700_000_000 + at) for user in range(9) for at in range(5)]
    pl.DataFrame(events, schema=["customer", "sku", "at"], orient="row").write_parquet(tmp_path / "events.parquet")
    items = {"sku": [f"A{n}" for n in range(7)], "title": ["Tea"] * 7, "category": ["drinks"] * 7}
    pl.DataFrame(items).write_csv(tmp_path / "items.csv")
    recipe = load_recipe(str(tmp_path / "shop.toml"))
    assert find_problems(recipe.data, tmp_path, Silent()) == []
    assert recipe.objectives, "it is taught"


def test_the_readme_is_short_and_shows_a_picture_and_the_two_commands_first() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.split()) < 900
    first_screen = "\n".join(readme.splitlines()[:40])
    pictures = re.findall(r"""src="([^"]+)"|!\[[^\]]*\]\(([^)]+)\)""", first_screen)
    assert pictures
    assert all((ROOT / (html or markdown)).is_file() for html, markdown in pictures)
    assert "make demo" in first_screen
    assert "make test" in first_screen


def test_each_picture_of_the_console_is_made_by_the_script_and_is_small() -> None:
    made = {picture_name(shot, dark=dark) for shot in SHOTS for dark in (False, True)}
    files = {path.name: path.stat().st_size for path in PICTURES.glob("console*.png")}
    assert set(files) == made
    assert max(files.values()) < 100_000
    shown = {name for page in PAGES for name in re.findall(r"console\w*\.png", page.read_text(encoding="utf-8"))}
    assert shown == made


def test_every_make_target_in_a_page_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for page in PAGES:
        for text in code(page):
            named = set(re.findall(r"(?:^|`)make ([a-z][a-z-]*)", text, re.MULTILINE))
            assert named <= targets, f"{page.name} names make targets that do not exist"
