"""Files of a sealed bundle: only bytes with the manifest's hash are used."""

from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from retort.shared.base.errors import BundleError
from retort.shared.base.hashing import hash_file


class FileEntry(BaseModel):
    """Hash and size of one file in the manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    sha256: str
    bytes: int


def check_file(path: Path, name: str, entry: FileEntry) -> None:
    """Check that it is a regular file inside the bundle, of the stated size.

    Raises:
        BundleError: It is not.
    """
    if Path(name).name != name:
        raise BundleError(f"{path}: the manifest names {name!r}, which is outside the bundle; publish it again.")
    file = path / name
    if not file.is_file() or file.is_symlink():
        raise BundleError(f"{path}: {name} is missing; the bundle is incomplete, publish it again.")
    if file.stat().st_size != entry.bytes:
        raise _hash_error(path, name)


def check_hash(path: Path, name: str, entry: FileEntry) -> None:
    """Check that the file has its hash.

    Raises:
        BundleError: It has another.
    """
    if hash_file(path / name) != entry.sha256:
        raise _hash_error(path, name)


def read_verified(path: Path, name: str, entry: FileEntry) -> bytes:
    """Return the file's bytes after checking their hash.

    Raises:
        BundleError: They have another hash.
    """
    content = (path / name).read_bytes()
    if sha256(content).hexdigest() != entry.sha256:
        raise _hash_error(path, name)
    return content


def matches_file(array: NDArray[np.generic], file_path: Path, entry: FileEntry) -> bool:
    """Whether an array in memory equals the one that was sealed in the .npy file."""
    with file_path.open("rb") as file:
        found = sha256(file.read(entry.bytes - array.nbytes))  # the file's header
    found.update(np.ascontiguousarray(array).data)
    return found.hexdigest() == entry.sha256


def _hash_error(path: Path, name: str) -> BundleError:
    return BundleError(f"{path}: {name} does not have the hash that the manifest states; publish the bundle again.")
