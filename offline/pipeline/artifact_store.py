"""The artifact store: one directory for each finished step, named by the hash of everything that shaped it.

    OUT/steps/split-1f0c9a3b7d52/           finished, complete, never changed again; step.json is its receipt
    OUT/steps/train-77ab….partial/          running or interrupted; the next run continues or starts over
    OUT/bundles/<bundle_id>/                sealed bundles

A step writes to `.partial`, which is renamed when the step ends, so a directory with its final name is complete. The
same fingerprint is the same work: it is found and skipped, whichever run made it.
"""

import errno
import fcntl
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from retort.offline.common.progress import Progress
from retort.shared.base.disk import DiskFullError, explained_full_disk
from retort.shared.base.errors import RetortError
from retort.shared.base.hashing import hash_file, hash_json

_RECEIPT = "step.json"
# measured times of a step: kept, but not hashed, so that equal work has equal outputs
TIMES = "times.json"
_PARTIAL = ".partial"
_HASH_DIGITS = 12


class ArtifactStoreError(RetortError):
    """The artifact store cannot be used."""


@dataclass(frozen=True)
class FinishedStep:
    """A finished step. `output` is the hash of its files; it is part of the names of the steps that read them."""

    name: str
    path: Path
    output: str
    skipped: bool

    @property
    def seconds(self) -> float:
        """Duration of the step when it ran, from its receipt."""
        receipt = _read_receipt(self.path)
        return float(receipt["seconds"]) if receipt else 0.0

    @property
    def peak_mib(self) -> float | None:
        """Largest resident memory of the process until the step ended, MiB; None for a step of an earlier version."""
        receipt = _read_receipt(self.path)
        return receipt.get("peak_mib") if receipt else None


@dataclass(frozen=True)
class ArtifactStore:
    """The run directory OUT: the directories of the steps and the sealed bundles."""

    root: Path

    @property
    def bundles(self) -> Path:
        """Directory of the sealed bundles."""
        return self.root / "bundles"

    def find(self, name: str, fingerprint: Mapping[str, Any]) -> FinishedStep | None:
        """The finished step, or None if it has not run yet."""
        path = self._path(name, fingerprint)
        receipt = _read_receipt(path)
        return FinishedStep(name, path, receipt["output"], skipped=True) if receipt else None

    def find_earlier(self, name: str, fingerprint: Mapping[str, Any]) -> list[Path]:
        """Directories of a step that ran with the same config and code on any inputs, the newest first."""
        alike = {key: value for key, value in fingerprint.items() if key != "inputs"}
        found = []
        for path in (self.root / "steps").glob(f"{name}-*"):
            receipt = None if path.name.endswith(_PARTIAL) or not path.is_dir() else _read_receipt(path)
            if receipt and receipt["step"] == name and alike.items() <= receipt["fingerprint"].items():
                found.append((receipt["finished_at"], path))
        return [path for _, path in sorted(found, reverse=True)]

    def run_unless_finished(
        self,
        name: str,
        fingerprint: Mapping[str, Any],
        work: Callable[[Path], None],
        *,
        resumes: bool,
        progress: Progress,
    ) -> FinishedStep:
        """Run a step unless it is finished.

        Args:
            work: Writes the step's files to the directory it is given.
            resumes: The step can continue from the files of an interrupted run; else these are deleted first.

        Raises:
            ArtifactStoreError: The disk is full, or the directory cannot be written.
        """
        path = self._path(name, fingerprint)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _exclusive(path, progress):
            found = self.find(name, fingerprint)
            if found:
                return found
            return self._run(path, name, fingerprint, work, resumes=resumes)

    def run_again(
        self, name: str, fingerprint: Mapping[str, Any], work: Callable[[Path], None], *, progress: Progress
    ) -> FinishedStep:
        """Run a finished step again, and put its files in the place of the former ones, which stay where it fails."""
        path = self._path(name, fingerprint)
        with _exclusive(path, progress):
            return self._run(path, name, fingerprint, work, resumes=False)

    def _run(
        self, path: Path, name: str, fingerprint: Mapping[str, Any], work: Callable[[Path], None], *, resumes: bool
    ) -> FinishedStep:
        partial = path.with_name(path.name + _PARTIAL)
        if partial.exists() and not resumes:
            shutil.rmtree(partial)
        partial.mkdir(exist_ok=True)
        started = time.perf_counter()
        with _explained_disk_errors(partial):
            work(partial)
            output = _seal(partial, name, fingerprint, time.perf_counter() - started)
            former = path.with_name(f"{path.name}.former{_PARTIAL}")
            if path.exists():  # a directory cannot be replaced at once
                os.replace(path, former)
            os.replace(partial, path)
            shutil.rmtree(former, ignore_errors=True)
        return FinishedStep(name, path, output, skipped=False)

    def _path(self, name: str, fingerprint: Mapping[str, Any]) -> Path:
        return self.root / "steps" / f"{name}-{hash_json(dict(fingerprint))[:_HASH_DIGITS]}"


def _read_receipt(path: Path) -> dict[str, Any] | None:
    try:
        receipt: dict[str, Any] = orjson.loads((path / _RECEIPT).read_bytes())
    except FileNotFoundError:
        return None
    return receipt


def _seal(partial: Path, name: str, fingerprint: Mapping[str, Any], seconds: float) -> str:
    files = {
        str(file.relative_to(partial)): hash_file(file)
        for file in _files(partial)
        if file.name not in (_RECEIPT, TIMES)
    }
    output = hash_json(files)
    receipt = {
        "step": name,
        "output": output,
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "peak_mib": _peak_mib(),
        "fingerprint": fingerprint,
        "files": files,
    }
    target = partial / _RECEIPT
    with target.open("wb") as file:
        file.write(orjson.dumps(receipt, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
        file.flush()
        # a power cut must not leave a final name on an empty receipt
        os.fsync(file.fileno())
    return output


def _peak_mib() -> float:
    """Return the largest resident memory of this process so far, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)


def _files(directory: Path) -> Iterator[Path]:
    return (path for path in sorted(directory.rglob("*")) if path.is_file())


@contextmanager
def _exclusive(path: Path, progress: Progress) -> Iterator[None]:
    """Hold the step's lock: a task delivered twice, or two runs into one OUT, must not write one directory."""
    lock = path.with_name(path.name + ".lock")
    with _explained_disk_errors(path), lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say(f"another process runs {path.name}; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _explained_disk_errors(path: Path) -> Iterator[None]:
    try:
        with explained_full_disk(path.parent):
            yield
    except DiskFullError as error:
        raise ArtifactStoreError(str(error)) from error
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EROFS) and str(path.parent) in str(error.filename):
            raise ArtifactStoreError(
                f"{error.filename} cannot be written; choose another --out or change its permissions."
            ) from error
        raise
