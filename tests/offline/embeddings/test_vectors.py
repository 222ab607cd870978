"""Vector files: ids and fixed-size lists, written whole or not at all."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retort.offline.embeddings.vectors import read_vectors, write_vectors
from retort.shared.base.errors import ProfileError

IDS = ["b", "a", "ü"]
VECTORS = np.arange(12, dtype=np.float32).reshape(3, 4)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "users.parquet"
    write_vectors(path, IDS, VECTORS)
    read = read_vectors(path)
    assert (read.ids, read.vectors.dtype) == (IDS, np.float32)
    np.testing.assert_array_equal(read.vectors, VECTORS)
    assert pq.read_schema(path).field("vector").type == pa.list_(pa.float32(), 4)
    assert [one.name for one in path.parent.iterdir()] == ["users.parquet"]


def test_sliced_and_wide_floats_are_written_right(tmp_path: Path) -> None:
    write_vectors(tmp_path / "v", IDS, VECTORS.astype(np.float64)[:, ::2], "item_id")  # type: ignore[arg-type]
    np.testing.assert_array_equal(read_vectors(tmp_path / "v", "item_id").vectors, VECTORS[:, ::2])


def test_the_parts_of_concatenated_vectors_are_counted(tmp_path: Path) -> None:
    write_vectors(tmp_path / "v", IDS, VECTORS, parts=2)
    assert read_vectors(tmp_path / "v").parts == 2
    with pytest.raises(ProfileError, match="do not fit"):
        write_vectors(tmp_path / "w", IDS, VECTORS, parts=3)


def test_wrong_vectors_are_not_written(tmp_path: Path) -> None:
    holes = VECTORS.copy()
    holes[1, 2] = np.nan
    for ids, vectors, told in ((IDS[:2], VECTORS, "2 ids"), (IDS, holes, "user_id 'a' contains NaN")):
        with pytest.raises(ProfileError, match=told):
            write_vectors(tmp_path / "v", ids, vectors)
    assert not list(tmp_path.iterdir())


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="no vectors at"):
        read_vectors(tmp_path / "none")
    (tmp_path / "text").write_text("user_id,vector")
    with pytest.raises(ProfileError, match="not a Parquet"):
        read_vectors(tmp_path / "text")
    write_vectors(tmp_path / "items", IDS, VECTORS, "item_id")
    with pytest.raises(ProfileError, match="user_id and vector are required"):
        read_vectors(tmp_path / "items")
    pq.write_table(pa.table({"user_id": IDS, "vector": [[1.0], [2.0], [3.0]]}), tmp_path / "lists")
    with pytest.raises(ProfileError, match="fixed-size"):
        read_vectors(tmp_path / "lists")
