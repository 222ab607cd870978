"""Plug-ins, registered by their file names: `students/sasrec.py` is the student `sasrec`.

Students and objectives consist of two files of the same name: the model, which needs torch, and its `Config` in the
package's `configs` folder, which does not.
"""

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from retort.shared.base.errors import RecipeError


def plugin_names(package: str) -> list[str]:
    """Names of the plug-ins in a package: its modules that do not start with `_`; folders do not count."""
    path = import_module(package).__path__
    return sorted(module.name for module in iter_modules(path) if not module.name.startswith("_") and not module.ispkg)


def load_plugin(package: str, name: str) -> ModuleType:
    """Import one plug-in; RecipeError, which lists the right names, if there is none of this name."""
    return import_module(plugin_module(package, name))


def plugin_module(package: str, name: str) -> str:
    """The module of a plug-in, which is not imported; RecipeError, which lists the right names, if there is none."""
    _check_name(package, name)
    return f"{package}.{name}"


def load_config(package: str, name: str) -> Any:
    """The `Config` class of a student or an objective, without importing its model.

    Raises:
        RecipeError: The package has no plug-in of this name.
    """
    _check_name(package, name)
    return import_module(f"{package}.configs.{name}").Config


def _check_name(package: str, name: str) -> None:
    names = plugin_names(package)
    if name not in names:
        kind = package.rpartition(".")[2]
        raise RecipeError(f"there is no {name!r} among the {kind}; choose one of: {', '.join(names)}.")
