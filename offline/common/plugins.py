"""Plug-ins found by file name: `students/sasrec.py` is the student `sasrec`. The file is the registration."""

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from retort.shared.base.errors import RecipeError


def plugin_names(package: str) -> list[str]:
    """Names of the plug-ins in a package: its modules that do not start with `_`."""
    path = import_module(package).__path__
    return sorted(module.name for module in iter_modules(path) if not module.name.startswith("_"))


def load_plugin(package: str, name: str) -> ModuleType:
    """Import one plug-in; a wrong name ends in a sentence that lists the right ones."""
    names = plugin_names(package)
    if name not in names:
        kind = package.rpartition(".")[2]
        raise RecipeError(f"there is no {name!r} among the {kind}; choose one of: {', '.join(names)}.")
    return import_module(f"{package}.{name}")
