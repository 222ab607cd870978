"""Sharded vectors: only changes are encoded, an interrupted update resumes, one reducer for all, drift is reported."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from retort.offline.common.progress import Silent
from retort.offline.embeddings.reducer_config import ReducerConfig
from retort.offline.embeddings.shard_reducer import fit_shard_reducer, read_reduced_vectors, reduce_shards
from retort.offline.embeddings.shards import (
    count_distinct,
    shard_index,
    split_texts,
    update_vectors,
)
from retort.offline.embeddings.vectors import FloatArray, read_vectors
from retort.shared.base.errors import ProfileError

N_SHARDS = 4
PCA = ReducerConfig(method="pca", n_components=3, fit_sample=60)


class Encoder:
    """A text's vector is a function of the text; what was asked is kept."""

    def __init__(self, shift: float = 0.0, fail_after: int | None = None) -> None:
        self.asked: list[str] = []
        self._shift, self._fail_after = shift, fail_after

    def __call__(self, texts: list[str]) -> FloatArray:
        if self._fail_after is not None and len(self.asked) >= self._fail_after:
            raise KeyboardInterrupt
        self.asked += texts
        return np.stack([self.vector(text) for text in texts])

    def vector(self, text: str) -> FloatArray:
        seed = int.from_bytes(text.encode()[-8:], "big") % 2**32
        return (np.random.default_rng(seed).standard_normal(8) + self._shift).astype(np.float32)


def texts(n_users: int, changed: Iterable[int] = ()) -> pl.DataFrame:
    again = set(changed)
    return pl.DataFrame(
        {
            "user_id": [f"u{n}" for n in range(n_users)],
            "text": [f"text {'new ' if n in again else ''}{n:08d}" for n in range(n_users)],
        }
    )


def renew(folder: Path, table: pl.DataFrame, encode: Encoder) -> tuple[int, int, int, int]:
    source = folder / f"texts-{len(list(folder.glob('texts-*')))}"
    # three tables, as they come from the database
    split_texts(table.iter_slices(40), source, N_SHARDS)
    done = update_vectors(source, folder / "vectors", N_SHARDS, encode, Silent())
    return done.encoded, done.kept, done.gone, done.shards_written


def stored(folder: Path) -> dict[str, FloatArray]:
    found: dict[str, FloatArray] = {}
    for path in sorted((folder / "vectors").glob("wide-*.parquet")):
        vectors = read_vectors(path)
        found |= dict(zip(vectors.ids, vectors.vectors, strict=True))
    return found


def mapped(folder: Path) -> dict[str, FloatArray]:
    found: dict[str, FloatArray] = {}
    for part in read_reduced_vectors(folder, N_SHARDS):
        found |= dict(zip(part.ids, part.vectors, strict=True))
    return found


def test_only_changed_users_are_encoded(tmp_path: Path) -> None:
    assert renew(tmp_path, texts(100), Encoder()) == (100, 0, 0, N_SHARDS)
    encode = Encoder()
    assert renew(tmp_path, texts(100), encode) == (0, 100, 0, 0)
    assert encode.asked == []
    encode = Encoder()
    assert renew(tmp_path, texts(100, [7]), encode) == (1, 99, 0, 1)
    assert encode.asked == ["text new 00000007"]
    encoded, kept, gone, _ = renew(tmp_path, texts(90, [7]), Encoder())
    assert (encoded, kept, gone) == (0, 90, 10)
    found = stored(tmp_path)
    assert sorted(found) == sorted(f"u{n}" for n in range(90))
    np.testing.assert_allclose(found["u7"], Encoder().vector("text new 00000007"))
    np.testing.assert_allclose(found["u8"], Encoder().vector("text 00000008"))


def test_a_killed_encoding_continues_with_the_next_shard(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        renew(tmp_path, texts(100), Encoder(fail_after=40))
    kept = len(stored(tmp_path))
    assert 0 < kept < 100
    encoded, again, _, _ = renew(tmp_path, texts(100), Encoder())
    assert (encoded, again) == (100 - kept, kept)
    assert len(stored(tmp_path)) == 100


def test_a_user_keeps_the_shard() -> None:
    assert [shard_index(f"u{n}", 8) for n in range(4)] == [shard_index(f"u{n}", 8) for n in range(4)]
    counts = np.bincount([shard_index(f"u{n}", 8) for n in range(4000)], minlength=8)
    assert counts.min() > 400


def test_new_users_are_mapped_without_a_fit(tmp_path: Path) -> None:
    renew(tmp_path, texts(100), Encoder())
    folder = tmp_path / "vectors"
    quality = fit_shard_reducer(folder, N_SHARDS, PCA, Silent())
    assert quality is not None
    with pytest.raises(ProfileError, match="not reduced"):
        list(read_reduced_vectors(folder, N_SHARDS))
    assert reduce_shards(folder, N_SHARDS, Silent())[0] == N_SHARDS
    before = mapped(folder)
    assert len(before) == 100
    written = renew(tmp_path, texts(101), Encoder())
    assert written[0] == 1
    n_reduced, drift = reduce_shards(folder, N_SHARDS, Silent())
    assert (n_reduced, drift.needs_refit) == (1, False)
    after = mapped(folder)
    assert len(after) == 101
    for user_id, vector in before.items():
        # a shard of another size is another matrix product
        np.testing.assert_allclose(after[user_id], vector, rtol=1e-5, atol=1e-6)


class Listener(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def test_drift_is_reported(tmp_path: Path) -> None:
    renew(tmp_path, texts(300), Encoder())
    folder = tmp_path / "vectors"
    fit_shard_reducer(folder, N_SHARDS, PCA, Silent())
    listener = Listener()
    assert not reduce_shards(folder, N_SHARDS, listener)[1].needs_refit
    assert listener.lines == []
    renew(tmp_path, texts(300, range(300)), Encoder(shift=2.0))
    _, drift = reduce_shards(folder, N_SHARDS, listener)
    assert drift.needs_refit
    assert drift.shift == pytest.approx(2.0, abs=0.4)
    assert "fit the reducer again" in listener.lines[0]


def test_distinct_vectors_are_counted_over_all_shards_and_a_single_one_is_refused(tmp_path: Path) -> None:
    renew(
        tmp_path / "some",
        texts(50).with_columns(text=pl.concat_str(pl.lit("same "), pl.col("user_id").str.slice(-1))),
        Encoder(),
    )
    assert count_distinct(tmp_path / "some" / "vectors", N_SHARDS) == (50, 10)
    renew(tmp_path / "one", texts(50).with_columns(text=pl.lit("same")), Encoder())
    with pytest.raises(ProfileError, match="all 50 users have the same vector"):
        count_distinct(tmp_path / "one" / "vectors", N_SHARDS)
