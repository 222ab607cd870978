"""Hashes of data files: what counts as data, and what is read again."""

import os
import time
from pathlib import Path

import pytest

from retort.offline.data.load import DataConfig
from retort.offline.pipeline import file_hashes
from retort.offline.pipeline.file_hashes import hash_file_once
from retort.offline.pipeline.prepare import files_hash


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """Paths of the files that were read; every file counts as large."""
    found: list[Path] = []
    hash_file = file_hashes.hash_file

    def counted(path: Path) -> str:
        found.append(path)
        return hash_file(path)

    monkeypatch.setattr(file_hashes, "hash_file", counted)
    monkeypatch.setattr(file_hashes, "KEPT_FROM_BYTES", 1)
    monkeypatch.setattr(file_hashes, "_SETTLED_NS", 0)
    monkeypatch.setenv("RETORT_HOME", str(tmp_path / "home"))
    file_hashes._hash_large.cache_clear()
    return found


def test_a_later_process_does_not_read_an_unchanged_large_file(tmp_path: Path, reads: list[Path]) -> None:
    path = tmp_path / "events.csv"
    path.write_text("1")
    first = hash_file_once(path)
    file_hashes._hash_large.cache_clear()  # as a new process
    assert hash_file_once(path) == first
    assert reads == [path]


def test_a_changed_file_of_the_same_size_and_time_is_read_again(tmp_path: Path, reads: list[Path]) -> None:
    path = tmp_path / "events.csv"
    path.write_text("1")
    stat, first = path.stat(), hash_file_once(path)
    time.sleep(0.01)
    path.write_text("2")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert hash_file_once(path) != first
    assert len(reads) == 2


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("movielens", ("u.data", "u.item")),
        ("recbole", ("shop.inter", "shop.item")),
        ("amazon", ("Beauty_5.json", "meta_Beauty.json")),
        ("kion", ("interactions.csv", "items_en.csv")),
        ("amazon_m2", ("sessions_train.csv", "products_train.csv")),
    ],
)
def test_only_the_files_that_a_source_reads_are_its_data(source: str, names: tuple[str, ...], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).write_text("{}")
    config = DataConfig(source=source)
    before = files_hash(tmp_path, config)
    (tmp_path / "model.bin").write_text("something else")
    assert files_hash(tmp_path, config) == before
    (tmp_path / names[-1]).write_text("{ }")
    assert files_hash(tmp_path, config) != before
