"""Recommenders that know what a language model knows, and answer without one.

The command line is `retort`, the server `retort-serve`. The Python library is `read`, `fit` and `load`:

    data = retort.read("events.csv", "items.csv")
    model = retort.fit(data, minutes=5)
    model.recommend(["u1"], k=10)

They are imported on first use, so that `import retort` stays light and serving needs no offline library.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retort.offline.library.data import Data, read
    from retort.offline.library.fit import fit
    from retort.offline.library.model import Model, load
    from retort.offline.library.server import Server

    __version__: str

_HOMES = {"Data": "data", "read": "data", "fit": "fit", "Model": "model", "load": "model", "Server": "server"}

__all__ = ["Data", "Model", "Server", "__version__", "fit", "load", "read"]


def __getattr__(name: str) -> Any:
    """Import a function or class of the library, or read the version, on first use."""
    if name == "__version__":
        return _version()
    if name not in _HOMES:
        raise AttributeError(f"module 'retort' has no attribute {name!r}")
    from importlib import import_module

    try:
        home = import_module(f"retort.offline.library.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        raise ImportError(
            f"retort.{name} needs the package {error.name}; install the offline part: "
            "pip install 'retort-recsys[offline]'."
        ) from error
    return getattr(home, name)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # takes 50 ms

    try:
        return version("retort-recsys")
    except PackageNotFoundError:  # a checkout that is not installed
        return "0+unknown"
