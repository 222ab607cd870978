"""The files of a sealed bundle: nothing is used but bytes that have the manifest's hash."""

from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from retort.shared.base.errors import BundleError
from retort.shared.base.hashing import hash_file


class FileEntry(BaseModel):
    """What the manifest says of one file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    sha256: str
    bytes: int


def check_file(path: Path, name: str, entry: FileEntry) -> None:
    """A file of its own, inside the bundle, of the size that the manifest states."""
    if Path(name).name != name:
        raise BundleError(f"{path}: the manifest names {name!r}, which is outside the bundle.")
    file = path / name
    if not file.is_file() or file.is_symlink():
        raise BundleError(f"{path}: {name} is missing; the bundle is incomplete, publish it again.")
    if file.stat().st_size != entry.bytes:
        raise _another_hash(path, name)


def check_hash(path: Path, name: str, entry: FileEntry) -> None:
    """The file has its hash now."""
    if hash_file(path / name) != entry.sha256:
        raise _another_hash(path, name)


def read_verified(path: Path, name: str, entry: FileEntry) -> bytes:
    """The file's bytes, the very ones that were hashed."""
    content = (path / name).read_bytes()
    if sha256(content).hexdigest() != entry.sha256:
        raise _another_hash(path, name)
    return content


def matches_file(array: NDArray[np.float32], file_path: Path, entry: FileEntry) -> bool:
    """Whether this array, as it is in memory, is the one that was sealed in the .npy file."""
    with file_path.open("rb") as file:
        found = sha256(file.read(entry.bytes - array.nbytes))  # what stands before the numbers
    found.update(np.ascontiguousarray(array).data)
    return found.hexdigest() == entry.sha256


def _another_hash(path: Path, name: str) -> BundleError:
    return BundleError(f"{path}: {name} does not have the hash that the manifest states; publish the bundle again.")
