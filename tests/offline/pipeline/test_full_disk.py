"""A full disk is one sentence, whichever library writes the file; a file size limit stands for it here."""

import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import joblib
import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import save_file

from retort.offline.cli import main as cli
from retort.offline.common.progress import Silent
from retort.offline.embeddings.vectors import Vectors, join_vectors, write_vectors
from retort.offline.export.publish import _copied
from retort.offline.jobs.heartbeat import error_sentence
from retort.offline.pipeline.artifact_store import ArtifactStore, ArtifactStoreError
from retort.offline.training.epochs import CHECKPOINT, load_checkpoint, save_checkpoint
from retort.shared.base.disk import DiskFullError, is_disk_full

LIMIT = 100_000
VALUES = np.random.default_rng(0).standard_normal((200, 500)).astype(np.float32)
TENSOR = torch.from_numpy(VALUES)
FRAME = pl.DataFrame({f"c{column}": VALUES[:, column] for column in range(500)})
IDS = [f"u{row}" for row in range(len(VALUES))]


@contextmanager
def limited() -> Iterator[None]:
    """Files beyond 100 kB fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def sqlite(folder: Path) -> None:
    connection = sqlite3.connect(folder / "a.sqlite")
    connection.execute("CREATE TABLE IF NOT EXISTS t (x BLOB)")
    connection.execute("INSERT INTO t VALUES (?)", (VALUES.tobytes(),))
    connection.commit()


WRITERS: dict[str, Callable[[Path], object]] = {
    "torch": lambda folder: torch.save({"x": TENSOR}, folder / "a.pt"),
    "checkpoint": lambda folder: save_checkpoint(folder, {"x": TENSOR}),
    "safetensors": lambda folder: save_file({"x": TENSOR}, folder / "a.safetensors"),
    "npy": lambda folder: np.save(folder / "a.npy", VALUES),
    "npz": lambda folder: np.savez(folder / "a.npz", x=VALUES),
    "polars": lambda folder: FRAME.write_parquet(folder / "a.parquet"),
    "csv": lambda folder: FRAME.write_csv(folder / "a.csv"),
    "vectors": lambda folder: write_vectors(folder / "vectors.parquet", IDS, VALUES),
    "joined vectors": lambda folder: join_vectors(folder / "vectors.parquet", [Vectors(IDS, VALUES)]),
    "joblib": lambda folder: joblib.dump({"x": VALUES}, folder / "a.joblib"),
    "onnx": lambda folder: (folder / "model.onnx").write_bytes(VALUES.tobytes()),
    "json": lambda folder: (folder / "a.json").write_text("[" + "0, " * LIMIT + "0]"),
    "sqlite": sqlite,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_writer_of_a_step_reports_a_full_disk(name: str, tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    with limited(), pytest.raises(ArtifactStoreError, match=f"the disk that holds {tmp_path}/steps.* is full; free"):
        store.run_unless_finished("step", {"of": name}, WRITERS[name], resumes=True, progress=Silent())
    assert store.find("step", {"of": name}) is None
    assert not store.run_unless_finished("step", {"of": name}, WRITERS[name], resumes=True, progress=Silent()).skipped


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"epoch": 1})
    with limited(), pytest.raises(DiskFullError, match="is full; free some space"):
        save_checkpoint(tmp_path, {"epoch": 2, "x": TENSOR})
    assert load_checkpoint(tmp_path) == {"epoch": 1}
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]


def test_a_bundle_that_does_not_fit_is_not_half_published(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "model.onnx").write_bytes(VALUES.tobytes())
    with limited(), pytest.raises(DiskFullError, match="is full; free some space"):
        _copied(bundle, tmp_path / "published" / "id")
    assert not list((tmp_path / "published").iterdir())


@pytest.mark.parametrize("name", ["torch", "safetensors", "npy", "polars", "sqlite"])
def test_commands_and_jobs_report_a_full_disk_without_a_traceback(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        with limited():
            WRITERS[name](tmp_path)

    monkeypatch.setattr(cli, "app", command)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("retort: the disk is full; free some space")
    with pytest.raises(Exception) as caught, limited():  # noqa: PT011 - each library has its own
        WRITERS[name](tmp_path)
    assert error_sentence(caught.value).startswith("the disk is full; free some space")


def test_other_errors_are_not_taken_for_a_full_disk() -> None:
    for error in (RuntimeError("shapes do not match"), OSError(13, "Permission denied"), ValueError("1 written")):
        assert not is_disk_full(error)
