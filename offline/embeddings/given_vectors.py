"""Ready vectors that another program wrote: Parquet with ids and lists of numbers of any float type."""

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from retort.offline.data.ids import clean_ids
from retort.offline.embeddings.vectors import FloatArray, IdColumn, Vectors, read_parts
from retort.shared.base.errors import ProfileError


def read_given_vectors(path: Path, id_column: IdColumn) -> Vectors:
    """Read ready vectors.

    Raises:
        DataError: An id is a float that has lost digits.
        ProfileError: The file is missing, is no Parquet, or does not hold one finite vector for each of distinct ids.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise ProfileError(f"there are no ready vectors at {path}; correct the path in [teacher].") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise ProfileError(f"{path} is not a Parquet file ({error}); write {id_column} and vector to it.") from None
    if missing := [name for name in (id_column, "vector") if name not in table.column_names]:
        raise ProfileError(
            f"{path} lacks the column {missing[0]!r}; it has {', '.join(table.column_names)}. Write one row for each "
            f"{id_column}, with its numbers as a list in vector."
        )
    ids = _ids(path, table.column(id_column), id_column)
    if ids.null_count() or ids.n_unique() < len(ids):
        raise ProfileError(f"{path}: a {id_column} is missing or appears twice; write one row for each.")
    vectors = _values(path, table.column("vector").combine_chunks())
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise ProfileError(
            f"{path}: {len(bad)} vectors hold NaN or infinity (the first is that of {id_column} {ids[int(bad[0])]}); "
            "leave out rows without a vector."
        )
    if len(vectors) > 1 and (vectors == vectors[0]).all():
        raise ProfileError(f"{path}: all {len(vectors)} vectors are the same, so they tell nothing apart.")
    return Vectors(ids.to_list(), vectors, read_parts(table.schema))


def _ids(path: Path, column: pa.ChunkedArray, name: str) -> pl.Series:
    """The ids as text, by the rule of the data's files: `1.0` is `1`, and floats that lost digits are refused."""
    values = pl.Series(name, pl.from_arrow(column))
    return clean_ids(values, pl.Series(range(1, len(values) + 1)), f"{path.name}, {name}").text


def _values(path: Path, column: pa.Array) -> FloatArray:
    """The column's numbers (N, E)."""
    import pyarrow.compute as pc  # not in runs without ready vectors

    kind = column.type
    is_list = pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)
    number = is_list and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))
    if not number or column.null_count or not len(column):
        raise ProfileError(f"{path}: vector is {kind} with {column.null_count} nulls; write a list of numbers a row.")
    widths = pc.unique(pc.list_value_length(column)).to_pylist()
    if len(widths) != 1 or not widths[0]:
        raise ProfileError(f"{path}: the vectors have {len(widths)} widths ({widths[:3]}); all need the same.")
    values = column.flatten().cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
    return np.array(values, dtype=np.float32).reshape(len(column), widths[0])
