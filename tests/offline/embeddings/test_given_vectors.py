"""Ready vectors of other programs: every float type, and one sentence for each fault."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from retort.offline.embeddings.given_vectors import read_given_vectors
from retort.shared.base.errors import DataError, ProfileError


@pytest.mark.parametrize("kind", [pl.List(pl.Float64), pl.List(pl.Float32), pl.Array(pl.Float32, 2), pl.List(pl.Int64)])
def test_every_kind_of_number_is_read(tmp_path: Path, kind: Any) -> None:
    path = tmp_path / "users.parquet"
    frame = pl.DataFrame({"user_id": [7, 8], "vector": [[1, 2], [3, 4]]}, schema={"user_id": pl.Int64, "vector": kind})
    frame.write_parquet(path)
    found = read_given_vectors(path, "user_id")
    assert found.ids == ["7", "8"]
    assert found.vectors.dtype == np.float32
    assert found.vectors.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("ids", [[7.0, 8.0, 9.5], ["7.0", " 8 ", "9.5"], [b"7", b"8", b"9.5"]])
def test_ids_are_those_of_the_data(tmp_path: Path, ids: list[Any]) -> None:
    path = tmp_path / "users.parquet"
    pl.DataFrame({"user_id": ids, "vector": [[1.0], [2.0], [3.0]]}).write_parquet(path)
    assert read_given_vectors(path, "user_id").ids == ["7", "8", "9.5"]
    pl.DataFrame({"user_id": [2.0**60, 1.0], "vector": [[1.0], [2.0]]}).write_parquet(path)
    with pytest.raises(DataError, match="was written as a float"):
        read_given_vectors(path, "user_id")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"user_id": ["a", "a"], "vector": [[1.0], [2.0]]}, "appears twice"),
        ({"user_id": ["a", None], "vector": [[1.0], [2.0]]}, "is missing"),
        ({"user_id": ["a", "b"], "vector": [[1.0], [float("nan")]]}, "NaN or infinity .*user_id b"),
        ({"user_id": ["a", "b"], "vector": [[1.0], [2.0, 3.0]]}, "2 widths"),
        ({"user_id": ["a", "b"], "vector": [[1.0], [1.0]]}, "all 2 vectors are the same"),
        ({"user_id": ["a", "b"], "vector": [[1.0], None]}, "1 nulls"),
        ({"user_id": ["a"], "vector": ["1.0"]}, "write a list of numbers"),
        ({"user": ["a"], "vector": [[1.0]]}, "lacks the column 'user_id'"),
    ],
)
def test_each_fault_is_one_sentence(tmp_path: Path, columns: dict[str, Any], words: str) -> None:
    path = tmp_path / "users.parquet"
    pl.DataFrame(columns).write_parquet(path)
    with pytest.raises(ProfileError, match=words):
        read_given_vectors(path, "user_id")


def test_a_missing_file_and_another_format_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="no ready vectors"):
        read_given_vectors(tmp_path / "none.parquet", "user_id")
    (tmp_path / "text.parquet").write_text("user_id,vector\n")
    with pytest.raises(ProfileError, match="not a Parquet file"):
        read_given_vectors(tmp_path / "text.parquet", "user_id")
