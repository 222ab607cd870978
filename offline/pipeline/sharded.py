"""Vectors and reducer of more users than fit in memory: `[encoder] shards`.

One shard of wide vectors is in memory at a time. A user whose text is unchanged since an earlier run of the same
encoder and code is not encoded again. The reduced vectors become one file, which the training reads as a whole.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from retort.offline.common.progress import Silent
from retort.offline.embeddings.encoder import encode_texts
from retort.offline.embeddings.shard_reducer import fit_shard_reducer, read_reduced_vectors, reduce_shards
from retort.offline.embeddings.shards import count_distinct, split_texts, update_vectors
from retort.offline.embeddings.vectors import FloatArray, join_vectors
from retort.offline.pipeline.context import PROFILES_FILE, VECTORS_FILE, RunContext
from retort.offline.pipeline.dag import Pipeline
from retort.shared.base.errors import ProfileError

_ROWS_AT_ONCE = 10_000
_TEXTS = "texts"


def encode_shards(pipeline: Pipeline[RunContext], work: Path, n_shards: int) -> None:
    """profiles.parquet → wide-*.parquet in `work`; an interrupted step continues with the next shard."""
    config, progress = pipeline.context.recipe.encoder, pipeline.context.progress
    texts = work / _TEXTS
    n_users = split_texts(_texts(pipeline.ensure_path("profiles") / PROFILES_FILE), texts, n_shards)
    if not n_users:
        raise ProfileError("there is no profile to encode; read the report of the profiles step.")
    _start_from_earlier(pipeline, work)

    def encode(batch: list[str]) -> FloatArray:
        return encode_texts(batch, config, Silent()).vectors

    progress.say(update_vectors(texts, work, n_shards, encode, progress).line())
    n_users, n_distinct = count_distinct(work, n_shards)
    progress.say(f"{n_users} users have {n_distinct} distinct vectors")
    shutil.rmtree(texts)


def reduce_users(pipeline: Pipeline[RunContext], work: Path, n_shards: int) -> None:
    """The shards' vectors → a reducer fitted on a sample of them, and the reduced vectors of all users in one file."""
    shards, progress = pipeline.ensure_path("vectors"), pipeline.context.progress
    fit_shard_reducer(shards, n_shards, pipeline.context.recipe.reducer, progress, work)
    reduce_shards(shards, n_shards, progress, work)
    join_vectors(work / VECTORS_FILE, read_reduced_vectors(shards, n_shards, work))
    for path in work.glob("narrow-*.parquet"):
        path.unlink()


def _texts(path: Path) -> Iterator[pl.DataFrame]:
    """Tables of user_id and text. Raises ProfileError if users have several texts."""
    aspects: set[str] = set()
    for batch in pq.ParquetFile(path).iter_batches(_ROWS_AT_ONCE, columns=["user_id", "aspect", "text"]):
        table = pl.DataFrame(pl.from_arrow(batch))
        aspects |= set(table["aspect"].unique())
        if len(aspects) > 1:
            raise ProfileError(
                "[encoder] shards requires one text a user, and these profiles have the aspects "
                f"{', '.join(sorted(aspects))}; set [profiles] combine = true, or remove shards."
            )
        yield table.select("user_id", "text")


def _start_from_earlier(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Link the shards of the latest run of this encoder; links suffice, because a shard is replaced, never changed."""
    if any(work.glob("wide-*.parquet")):
        return
    for earlier in pipeline.store.find_earlier("vectors", pipeline.fingerprint(pipeline.steps["vectors"]))[:1]:
        for shard in earlier.glob("wide-*.parquet"):
            os.link(shard, work / shard.name)
