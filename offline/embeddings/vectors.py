"""Vector files: Parquet with an id and a fixed-size list of float32."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from retort.shared.base.errors import ProfileError

FloatArray = NDArray[np.float32]
IdColumn = Literal["user_id", "item_id"]
_VECTOR = "vector"
_PARTS = "parts"


@dataclass(frozen=True)
class Vectors:
    """Vectors by id: `ids[i]` has `vectors[i]`.

    Attributes:
        vectors: (N, E) float32; E = parts · width where each row consists of several vectors.
    """

    ids: list[str]
    vectors: FloatArray
    parts: int = 1


def normalize_rows(vectors: FloatArray) -> FloatArray:
    """Scale each row to length 1."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: FloatArray = (vectors / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)
    return unit


def refuse_one_vector(n_users: int, n_distinct: int) -> None:
    """Raise ProfileError if several users all have the same vector, which says nothing about any of them."""
    if n_users > 1 and n_distinct == 1:
        raise ProfileError(
            f"all {n_users} users have the same vector, so it cannot tell them apart; read the profiles, and "
            "check [encoder] max_tokens and prefix."
        )


def write_vectors(
    path: Path, ids: Sequence[str], vectors: FloatArray, id_column: IdColumn = "user_id", parts: int = 1
) -> None:
    """Write vectors (N, E); the file appears whole or not at all.

    Args:
        parts: Number of vectors that each row consists of.

    Raises:
        ProfileError: Ids and vectors do not fit, or a value is not finite.
    """
    if vectors.ndim != 2 or len(ids) != len(vectors) or vectors.shape[1] % parts:
        raise ProfileError(
            f"{len(ids)} ids do not fit vectors of shape {vectors.shape}; nothing was written to {path}."
        )
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise ProfileError(
            f"the vector of {id_column} {ids[row]!r} contains NaN or infinity; nothing was written to {path}."
        )
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    column = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    table = pa.table({id_column: pa.array(list(ids), pa.string()), _VECTOR: column})
    table = table.replace_schema_metadata({_PARTS: str(parts)} if parts > 1 else None)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    pq.write_table(table, partial, compression="zstd")
    partial.replace(path)


def join_vectors(path: Path, parts: Iterable[Vectors]) -> int:
    """Write several parts to one file, with one part in memory at a time.

    Returns:
        The number of users.

    Raises:
        ProfileError: There are no vectors.
    """
    n_users, partial = 0, path.with_name(f"{path.name}.partial")
    writer: pq.ParquetWriter | None = None
    try:
        for part in parts:
            flat = pa.array(np.ascontiguousarray(part.vectors, dtype=np.float32).reshape(-1))
            column = pa.FixedSizeListArray.from_arrays(flat, part.vectors.shape[1])
            table = pa.table({"user_id": pa.array(part.ids, pa.string()), _VECTOR: column})
            writer = writer or pq.ParquetWriter(partial, table.schema, compression="zstd")
            writer.write_table(table)
            n_users += len(part.ids)
    finally:
        if writer is not None:
            writer.close()
    if not n_users:
        raise ProfileError(f"there are no vectors to write to {path}; encode texts first.")
    partial.replace(path)
    return n_users


def read_vectors(path: Path, id_column: IdColumn = "user_id") -> Vectors:
    """Read what `write_vectors` wrote.

    Raises:
        ProfileError: The file is missing or has another format.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise ProfileError(f"there are no vectors at {path}; run the vectors step first.") from None
    except pa.ArrowInvalid as error:
        raise ProfileError(f"{path} is not a Parquet file ({error}); write the vectors again.") from None
    if id_column not in table.column_names or _VECTOR not in table.column_names:
        raise ProfileError(
            f"{path} has the columns {table.column_names}, but {id_column} and {_VECTOR} are required; write it again."
        )
    column = table.column(_VECTOR).combine_chunks()
    if not pa.types.is_fixed_size_list(column.type) or column.type.value_type != pa.float32():
        raise ProfileError(f"{path}: {_VECTOR} is {column.type}, not a fixed-size list of float32; write it again.")
    vectors = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), column.type.list_size)
    return Vectors(table.column(id_column).to_pylist(), np.array(vectors, dtype=np.float32), read_parts(table.schema))


def read_parts(schema: pa.Schema) -> int:
    """Return the number of vectors that each row of a file consists of."""
    return int((schema.metadata or {}).get(_PARTS.encode(), 1))
