"""The directory that `--data` names."""

from pathlib import Path

from retort.shared.base.errors import DataError


def existing_directory(path: Path) -> Path:
    """The path itself; DataError where it is a file, or nothing is there."""
    if path.is_dir():
        return path
    if path.exists():
        raise DataError(f"--data {path} is a file; write --data {path.parent} instead, the directory that it lies in.")
    raise DataError(f"the data directory {path} does not exist; name an existing one with --data DIR.")
