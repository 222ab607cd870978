"""No import cycle between folders: each folder is a node, and imports inside functions and for types count too."""

from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
# Parts of their parent: plug-ins that it loads by name, and the routes that its application is made of. One node each.
PARTS = {"retort.offline.profiles.backends", "retort.offline.data.sources", "retort.serving.api.routes"}


def folder_of(module: str, folders: set[str]) -> str:
    """The package that holds a module; a package's own `__init__` belongs to it."""
    folder = module if module in folders else module.rpartition(".")[0]
    return folder.rpartition(".")[0] if folder in PARTS else folder


def cycle_in(imports: dict[str, set[str]]) -> list[str]:
    """The nodes of one cycle, or none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(
        "retort", include_external_packages=False, cache_dir=None, exclude_type_checking_imports=False
    )


def test_no_cycle_between_folders(graph: grimp.ImportGraph) -> None:
    folders = {module for module in graph.modules if graph.find_children(module)}
    assert len(folders) > 30
    imports: dict[str, set[str]] = defaultdict(set)
    for importer in graph.modules:
        for imported in graph.find_modules_directly_imported_by(importer):
            pair = folder_of(importer, folders), folder_of(imported, folders)
            if pair[0] != pair[1]:
                imports[pair[0]].add(pair[1])
    assert cycle_in(imports) == []


def test_no_cycle_between_modules(graph: grimp.ImportGraph) -> None:
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert cycle_in(imports) == []


def test_imports_inside_functions_and_for_types_are_seen(graph: grimp.ImportGraph) -> None:
    assert graph.direct_import_exists(importer="retort.offline.cli.main", imported="retort.offline.cli.demo")
    assert graph.direct_import_exists(importer="retort.offline.cli.run", imported="retort.offline.recipes.recipe")
    types_only = "retort.offline.evaluation.compare"
    assert graph.direct_import_exists(importer="retort.offline.cli.run", imported=types_only)


def test_a_cycle_is_found() -> None:
    assert set(cycle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}})) == {"a", "b", "c"}
