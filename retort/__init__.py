"""Recommenders that know what a language model knows, and answer without one.

The command line is `retort`, the server `retort-serve`. The public Python API will be exported from here.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("retort-recsys")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
