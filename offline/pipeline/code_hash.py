"""The code that shapes a step's files, derived from the imports: a step whose code changed runs again.

The walk starts at the function of the step. In the modules of the pipeline it follows the names that the function uses,
because one such module holds several steps; every other module counts as a whole, with all that it imports, imports
inside functions included. Plug-ins are loaded by name, so the step lists those that its recipe uses. A folder of data
files that a module names in a string (`templates`) belongs to the module.
"""

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

from retort.offline.pipeline.artifact_store import ArtifactStoreError
from retort.offline.pipeline.file_hashes import hash_file_once
from retort.shared.base.hashing import hash_json

# A module as a whole (name None), or one of its top-level names.
Reference: TypeAlias = tuple[str, str | None]

_ROOT = "retort"
_PIPELINE = "retort.offline.pipeline."

# These name, count, check, store or report; no byte of a step's files comes from them. Values of a recipe are a part of
# the key themselves.
OBSERVERS = (
    "retort.offline.common.database",
    "retort.offline.common.plugins",
    "retort.offline.common.progress",
    "retort.offline.common.section",
    "retort.offline.common.terminal",
    "retort.offline.common.tracing",
    "retort.offline.pipeline.artifact_store",
    "retort.offline.pipeline.code_hash",
    "retort.offline.pipeline.dag",
    "retort.offline.pipeline.file_hashes",
    "retort.offline.recipes",
    "retort.shared.base.errors",
    "retort.shared.base.hashing",
    "retort.shared.base.logging",
    "retort.shared.base.settings",
    "retort.shared.base.tracing",
    "retort.shared.db",
)


def hash_code(entry: Callable[..., Any], plugins: Iterable[str] = ()) -> str:
    """Hash of `code_of(entry, plugins)`; the same wherever Retort is installed."""
    return hash_json(dict(sorted(code_of(entry, plugins).items())))


def code_of(entry: Callable[..., Any], plugins: Iterable[str] = ()) -> Mapping[str, str]:
    """Everything that shapes what a function computes: `module`, `module:name` or data file → hash of its content.

    Args:
        entry: A top-level function, or a `functools.partial` of one. A function outside Retort has no code here.
        plugins: Modules that the function loads by name.

    Raises:
        ArtifactStoreError: A module is missing from this installation.
    """
    while isinstance(entry, partial):
        entry = entry.func
    if not entry.__module__.startswith(f"{_ROOT}."):
        return {}
    own = entry.__module__
    waiting: list[Reference] = [(own, entry.__qualname__.partition(".")[0]), *((name, None) for name in plugins)]
    found: dict[str, str] = {}
    seen: set[Reference] = set()
    while waiting:
        module, name = waiting.pop()
        by_name = name is not None and (module == own or module.startswith(_PIPELINE))
        reference = (module, name if by_name else None)
        if reference in seen or _is_observer(module):
            continue
        seen.add(reference)
        source = _source(module)
        if by_name:
            found[f"{module}:{name}"] = source.hash_of_name(str(name))
            waiting += source.names_used_by(str(name))
        else:
            found |= {module: source.hash, **source.data_files}
            waiting += source.imports
    return found


def _is_observer(module: str) -> bool:
    return any(module == observer or module.startswith(f"{observer}.") for observer in OBSERVERS)


@dataclass(frozen=True)
class _Source:
    """A module's source, parsed."""

    module: str
    path: Path
    hash: str

    @cached_property
    def _tree(self) -> ast.Module:
        return ast.parse(self.path.read_bytes())

    @cached_property
    def imports(self) -> list[Reference]:
        """What the module imports of Retort, wherever in it."""
        return [reference for _, reference in _imports(self._tree)]

    @cached_property
    def data_files(self) -> dict[str, str]:
        """Hashes of the files in data folders next to the module that a string in it names."""
        folders = {path.name: path for path in _data_folders(self.path.parent)}
        named = {node.value for node in ast.walk(self._tree) if isinstance(node, ast.Constant)} if folders else set()
        return {
            f"{self.module}/{file.relative_to(self.path.parent).as_posix()}": hash_file_once(file)
            for name in sorted(folders.keys() & named)
            for file in folders[name].rglob("*")
            if file.is_file()
        }

    @cached_property
    def _definitions(self) -> dict[str, list[ast.stmt]]:
        """Top-level name → the statements that bind it."""
        found: dict[str, list[ast.stmt]] = {}
        for statement in self._tree.body:
            for name in _bound_names(statement):
                found.setdefault(name, []).append(statement)
        return found

    @cached_property
    def _imported(self) -> dict[str, Reference]:
        """Name → what it was imported from, at the top level or below `if TYPE_CHECKING`."""
        return dict(_imports(self._tree))

    def hash_of_name(self, name: str) -> str:
        """Hash of the text that defines a name; of the whole module where the text cannot be found."""
        if name not in self._definitions:
            return self.hash
        lines = self.path.read_text(encoding="utf-8").splitlines()
        return hash_json([lines[_first_line(node) - 1 : node.end_lineno] for node in self._definitions[name]])

    def names_used_by(self, name: str) -> list[Reference]:
        """The definitions and imports that a definition mentions."""
        used: list[Reference] = []
        for statement in self._definitions.get(name, self._tree.body):
            used += [reference for _, reference in _imports(statement)]
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and node.id in self._imported:
                    used.append(self._imported[node.id])
                elif isinstance(node, ast.Name) and node.id in self._definitions:
                    used.append((self.module, node.id))
        return used


def _first_line(statement: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(decorator.lineno for decorator in decorators)])


def _bound_names(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        yield from (node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and _is_target(node))


def _is_target(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)


def _imports(tree: ast.AST) -> Iterator[tuple[str, Reference]]:
    """Local name and reference of everything of Retort that is imported below a node."""
    for node in _statements(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{_ROOT}."):
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                whole = _path(submodule) is not None
                yield alias.asname or alias.name, (submodule, None) if whole else (node.module, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith(f"{_ROOT}."):
                    yield alias.asname or _ROOT, (alias.name, None)


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """A node and the statements below it; expressions hold no import, and to leave them out is many times faster."""
    yield tree
    for field in ("body", "handlers", "orelse", "finalbody", "cases"):
        below = getattr(tree, field, ())
        for node in below if isinstance(below, list) else ():
            yield from _statements(node)


def _source(module: str) -> _Source:
    path = _path(module)
    if path is None:
        raise ArtifactStoreError(f"the module {module} is missing from this installation; install Retort again.")
    return _parsed(module, path, hash_file_once(path))


@lru_cache(maxsize=4096)
def _parsed(module: str, path: Path, digest: str) -> _Source:
    return _Source(module, path, digest)


@lru_cache(maxsize=4096)
def _path(module: str) -> Path | None:
    """The file of a module of Retort. Python finds only the top folders: finding a module would import its package."""
    top = ".".join(module.split(".")[:2])
    root = _top_folder(top)
    if root is None:
        return None
    base = root.joinpath(*module.split(".")[2:])
    for path in (base.with_name(f"{base.name}.py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@lru_cache(maxsize=16)
def _top_folder(package: str) -> Path | None:
    spec = find_spec(package)
    locations = spec.submodule_search_locations if spec else None
    return Path(next(iter(locations))) if locations else None


@lru_cache(maxsize=256)
def _data_folders(folder: Path) -> tuple[Path, ...]:
    """Folders next to modules that hold no code."""
    return tuple(
        path
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith("__") and not any(path.glob("*.py"))
    )
