"""Ranked lists and distributions of a teacher on disk: Parquet with one row per evaluated train event.

    user_id string · position int64 · items list<string>, best first · distances list<float> · d_star float
    user_id string · position int64 · items list<string> · probabilities list<float> · true_rank int64
        [· listener_rank int64]

`position` counts the user's train events from 0; the row holds the teacher's output before that event. The second form
has its temperature in the metadata of the file.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from retort.offline.data.split import Split
from retort.offline.teachers.teacher import Distributions, FloatArray, IntArray, Rankings
from retort.shared.base.errors import TeacherError
from retort.shared.base.schema import PAD

RANKINGS, DISTRIBUTIONS = "rankings.parquet", "distributions.parquet"  # in a folder of lists
_TEMPERATURE = b"retort.temperature"


def write_rankings(path: Path, split: Split, rankings: Rankings) -> None:
    """Write one row per evaluated event."""
    columns = _keys(split, rankings.rows_E) | _lists(split, rankings.rows_E, rankings.items, rankings.distances)
    columns["distances"] = columns.pop("values")
    evaluated = rankings.rows_E[rankings.rows_E >= 0]
    _write(path, {**columns, "d_star": pa.array(rankings.d_star[evaluated], pa.float32())}, {})


def write_distributions(path: Path, split: Split, distributions: Distributions) -> None:
    """Write one row per evaluated event."""
    rows_E = distributions.rows_E
    columns = _keys(split, rows_E) | _lists(split, rows_E, distributions.items, distributions.probabilities)
    columns["probabilities"] = columns.pop("values")
    evaluated = rows_E[rows_E >= 0]
    columns["true_rank"] = pa.array(distributions.true_ranks[evaluated], pa.int64())
    if distributions.learner_ranks is not None:
        columns["listener_rank"] = pa.array(distributions.learner_ranks[evaluated], pa.int64())
    _write(path, columns, {_TEMPERATURE: str(distributions.temperature).encode()})


def read_rankings(path: Path, split: Split) -> Rankings:
    """Read rankings and join them to the split by id.

    Raises:
        TeacherError: No row matches, or a column is missing.
    """
    table = _read(path, ("user_id", "position", "items", "distances", "d_star"))
    joined = join_lists(
        split,
        table["user_id"].to_pylist(),
        table["position"].to_numpy(),
        table["items"].to_pylist(),
        table["distances"].to_pylist(),
        np.inf,
        str(path),
    )
    d_star = table["d_star"].to_numpy().astype(np.float32)
    if np.isinf(d_star).any():
        raise TeacherError(f"{path}: d_star of a row is infinite; leave it empty where it is unknown.")
    return Rankings(joined.rows_E, joined.items, joined.values, d_star)


def read_distributions(path: Path, split: Split) -> Distributions:
    """Read distributions and join them to the split by id.

    Raises:
        TeacherError: No row matches, or a column or the temperature is missing.
    """
    table = _read(path, ("user_id", "position", "items", "probabilities", "true_rank"))
    temperature = (table.schema.metadata or {}).get(_TEMPERATURE)
    if temperature is None:
        raise TeacherError(f"{path} has no temperature (metadata {_TEMPERATURE.decode()!r}); write it again.")
    joined = join_lists(
        split,
        table["user_id"].to_pylist(),
        table["position"].to_numpy(),
        table["items"].to_pylist(),
        table["probabilities"].to_pylist(),
        0.0,
        str(path),
    )
    if (joined.values < 0).any() or (joined.values.sum(1) > 1 + 1e-3).any():
        raise TeacherError(f"{path}: probabilities of a row are below 0 or above 1 in sum; write it again.")
    ranks = _ranks(table, "true_rank", path)
    learner_ranks = _ranks(table, "listener_rank", path) if "listener_rank" in table.column_names else None
    return Distributions(joined.rows_E, joined.items, joined.values, ranks, _positive(temperature, path), learner_ranks)


def _ranks(table: Any, column: str, path: Path) -> IntArray:
    """Ranks from 1, without a gap."""
    values = table[column].to_numpy().astype(np.float64)
    if not (np.isfinite(values).all() and (values >= 1).all()):
        raise TeacherError(f"{path}: {column} of a row is missing or below 1; ranks count from 1.")
    return values.astype(np.int64)


def _positive(temperature: bytes, path: Path) -> float:
    try:
        value = float(temperature)
    except ValueError:
        value = np.nan
    if not (np.isfinite(value) and value > 0):
        raise TeacherError(f"{path} has the temperature {temperature.decode()!r}; it must be a number above 0.")
    return value


@dataclass(frozen=True)
class Joined:
    """Lists joined to the train events: rows_E (E,), items (R, K), values (R, K)."""

    rows_E: IntArray
    items: IntArray
    values: FloatArray


def join_lists(
    split: Split,
    user_ids: list[str],
    positions: IntArray,
    items: list[list[str]],
    values: list[list[float]],
    empty: float,
    what: str,
) -> Joined:
    """Map rows (user_id, position) to train events, and item ids to indexes; unknown items are left out."""
    users = {user_id: user for user, user_id in enumerate(split.user_ids)}
    rows_E = np.full(len(split.train.values), -1, dtype=np.int64)
    lengths, offsets = split.train.lengths, split.train.offsets
    for row, (user_id, position) in enumerate(zip(user_ids, positions, strict=True)):
        user = users.get(user_id)
        if user is not None and 0 <= position < lengths[user]:
            if rows_E[offsets[user] + position] >= 0:
                raise TeacherError(f"{what}: user {user_id!r}, position {position} appears twice; keep one row.")
            rows_E[offsets[user] + position] = row
    if not (rows_E >= 0).any():
        raise TeacherError(
            f"{what}: none of the {len(user_ids)} rows belongs to a train event of this split (the first is user "
            f"{next(iter(user_ids), None)!r}); give the lists that were made from this data."
        )
    width = max((len(one) for one in items), default=0)
    item_rows = np.full((len(items), width), PAD, dtype=np.int64)
    value_rows = np.full((len(items), width), empty, dtype=np.float32)
    for row, (ids, numbers) in enumerate(zip(items, values, strict=True)):
        if len(ids) != len(numbers):
            raise TeacherError(
                f"{what}, row {row}: {len(ids)} items have {len(numbers)} numbers; write the lists again."
            )
        indexes = [split.item_index.index(one) or PAD for one in ids]
        known = [place for place, index in enumerate(indexes) if index != PAD]
        item_rows[row, : len(known)] = [indexes[place] for place in known]
        value_rows[row, : len(known)] = [numbers[place] for place in known]
        if not np.isfinite(value_rows[row, : len(known)]).all():
            raise TeacherError(
                f"{what}, row {row}: a number of the list is missing, NaN or infinite; leave the row out, or write it "
                "again."
            )
    return Joined(rows_E, item_rows, value_rows)


def _keys(split: Split, rows_E: IntArray) -> dict[str, Any]:
    evaluated = np.flatnonzero(rows_E >= 0)
    users = np.searchsorted(split.train.offsets, evaluated, side="right") - 1
    return {
        "user_id": pa.array([split.user_ids[user] for user in users], pa.string()),
        "position": pa.array(evaluated - split.train.offsets[users], pa.int64()),
    }


def _lists(split: Split, rows_E: IntArray, items: IntArray, values: FloatArray) -> dict[str, Any]:
    evaluated = rows_E[rows_E >= 0]
    names: list[list[str]] = []
    numbers: list[list[float]] = []
    for ids, row in zip(items[evaluated], values[evaluated], strict=True):
        names.append([split.item_index.id(int(item)) for item in ids if item != PAD])
        numbers.append(row[ids != PAD].tolist())
    return {"items": pa.array(names, pa.list_(pa.string())), "values": pa.array(numbers, pa.list_(pa.float32()))}


def _write(path: Path, columns: dict[str, Any], metadata: dict[bytes, bytes]) -> None:
    partial = path.with_name(path.name + ".partial")
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), partial, compression="zstd")
    partial.replace(path)


def _read(path: Path, columns: tuple[str, ...]) -> Any:
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise TeacherError(f"there are no teacher's lists at {path}; write them first, or name their file.") from None
    except pa.ArrowInvalid as error:
        raise TeacherError(f"{path} is no Parquet file ({error}); write the lists again.") from None
    if missing := [column for column in columns if column not in table.column_names]:
        raise TeacherError(f"{path} has no column {missing[0]!r}; it has: {', '.join(table.column_names)}.")
    return table
