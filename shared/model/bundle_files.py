"""Contents of a bundle's files: read and checked, so that a damaged bundle is refused before anything uses it.

The hashes of the manifest show that the files are those that were sealed, not that they are right.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from retort.shared.base.errors import BundleError, first_invalid
from retort.shared.base.schema import ITEM_ID, POPULARITY

ITEMS = "items.parquet"
ITEM_VECTORS = "item_vectors.npy"
ITEM_SCALES = "item_scales.npy"
GOLDEN = "golden.jsonl"
ITEM_MAP = "item_map.npy"
TRENDS = "item_trends.npz"


class GoldenRequest(BaseModel):
    """A request and the response of the graph when it was sealed."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    history: list[str]
    exclude: list[str] = []
    k: int = Field(ge=1)
    items: list[str]
    scores: list[float]


def read_items(path: Path, content: bytes, n_items: int) -> pa.Table:
    """Read the item table of a bundle.

    Raises:
        BundleError: It is no Parquet file, or its ids or popularity cannot be used.
    """
    import pyarrow.compute as pc  # not in runs that read no bundle

    try:
        items = pq.ParquetFile(pa.BufferReader(content)).read()  # `read_table` imports pandas, if it is installed
    except (pa.ArrowException, OSError, ValueError) as error:
        raise damaged(path, ITEMS, f"is not a Parquet file ({_first_line(error)})") from None
    if items.num_rows != n_items:
        raise damaged(path, ITEMS, f"has {items.num_rows} rows, but the manifest states {n_items}")
    if len(set(items.column_names)) != len(items.column_names):
        raise damaged(path, ITEMS, "has two columns of one name")
    ids = _column(path, items, ITEM_ID)
    if not (pa.types.is_string(ids.type) or pa.types.is_large_string(ids.type) or pa.types.is_string_view(ids.type)):
        raise damaged(path, ITEMS, f"has item ids of type {ids.type}, not text")
    if len(pc.unique(ids)) != n_items:
        raise damaged(path, ITEMS, "names an item twice")
    popularity = _column(path, items, POPULARITY)
    if not pa.types.is_integer(popularity.type) or (n_items and pc.min(popularity).as_py() < 0):
        raise damaged(path, ITEMS, f"has a popularity of type {popularity.type} that is not a count of events")
    return items


def read_golden(path: Path, content: bytes) -> tuple[GoldenRequest, ...]:
    """Read the golden requests of a bundle.

    Raises:
        BundleError: There is none, or a line is malformed.
    """
    requests = []
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            request = GoldenRequest.model_validate_json(line)
        except ValidationError as error:
            raise damaged(path, GOLDEN, f"is malformed in line {number} ({first_invalid(error)})") from None
        if len(request.items) != len(request.scores) or not np.isfinite(request.scores).all():
            raise damaged(path, GOLDEN, f"has no finite score for each item in line {number}")
        requests.append(request)
    if not requests:
        raise damaged(path, GOLDEN, "has no request, so the graph cannot be verified")
    return tuple(requests)


@dataclass(frozen=True)
class StoredVectors:
    """Item table as a bundle stores it.

    Attributes:
        values: (P, D) of float32, float16 or int8.
        scales: Value (P, 1) of one step of each int8 row; None for the other types.
    """

    values: NDArray[np.generic]
    scales: NDArray[np.float32] | None = None

    def decoded(self) -> NDArray[np.float32]:
        """Return the table in float32."""
        values = self.values.astype(np.float32, copy=False)
        return values if self.scales is None else values * self.scales


def read_vectors(folder: Path) -> NDArray[np.float32] | None:
    """Read the item vectors of a bundle or an export in float32; None if there are none.

    Raises:
        BundleError: The files are not a matrix of float32 or float16, or of int8 with scales.
    """
    stored = read_stored_vectors(folder)
    return None if stored is None else stored.decoded()


def read_stored_vectors(folder: Path) -> StoredVectors | None:
    """Read the item vectors of a bundle or an export as they are stored; None if there are none.

    Raises:
        BundleError: As `read_vectors`.
    """
    vectors = _read_array(folder, ITEM_VECTORS)
    if vectors is None:
        return None
    if vectors.ndim != 2 or vectors.dtype not in (np.float32, np.float16, np.int8):
        raise damaged(folder, ITEM_VECTORS, "is not an array of float32, float16 or int8 with two dimensions")
    if vectors.dtype != np.int8:
        return StoredVectors(vectors)
    scales = _read_array(folder, ITEM_SCALES)
    if scales is None or scales.shape != (len(vectors), 1) or scales.dtype != np.float32:
        raise damaged(folder, ITEM_SCALES, "has no float32 scale for each row of int8")
    return StoredVectors(vectors, scales.astype(np.float32, copy=False))


def _read_array(folder: Path, name: str) -> NDArray[np.generic] | None:
    try:
        # An open file: for some damaged files np.load would not close its own.
        with (folder / name).open("rb") as file:
            array = np.load(file, allow_pickle=False)
    except FileNotFoundError:
        return None
    except Exception as error:  # noqa: BLE001 - as in `read_arrays`
        raise damaged(folder, name, f"is not an array ({_first_line(error)})") from None
    if not isinstance(array, np.ndarray):
        raise damaged(folder, name, "is not an array")
    return array


@dataclass(frozen=True)
class Trends:
    """Train events of each item over time.

    Attributes:
        counts: Events in equal spans of time, (n_items, S).
        first: Time of the first train event, in ms since 1970.
        last: Time of the last.
    """

    counts: NDArray[np.unsignedinteger]
    first: int
    last: int


def parse_map(path: Path, content: bytes, n_items: int) -> NDArray[np.uint16]:
    """Read the places of the items, (n_items, 2) from 0 to 65535.

    Raises:
        BundleError: The content is something else.
    """
    try:
        places = np.load(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # noqa: BLE001 - as in `read_arrays`
        raise damaged(path, ITEM_MAP, f"is not an array ({_first_line(error)})") from None
    if not isinstance(places, np.ndarray) or places.shape != (n_items, 2) or places.dtype != np.uint16:
        raise damaged(path, ITEM_MAP, "has no place of 16 bits for each item")
    return places


def parse_trends(path: Path, content: bytes, n_items: int) -> Trends:
    """Read the train events of the items over time.

    Raises:
        BundleError: The content is something else.
    """
    counts, span = read_arrays(path, TRENDS, content, ("counts", "span"))
    if span.shape != (2,) or not np.issubdtype(span.dtype, np.integer):
        raise damaged(path, TRENDS, "has no first and last time")
    if counts.ndim != 2 or len(counts) != n_items or not np.issubdtype(counts.dtype, np.unsignedinteger):
        raise damaged(path, TRENDS, "has no counts for each item")
    return Trends(counts, int(span[0]), int(span[1]))


def read_arrays(path: Path, name: str, content: bytes, arrays: Sequence[str]) -> list[NDArray[Any]]:
    """Read arrays of an .npz file of a bundle.

    Args:
        name: Name of the file, for errors.

    Raises:
        BundleError: The content is something else, or an array is missing.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return [np.asarray(archive[array]) for array in arrays]  # a member may be bytes
    except Exception as error:  # noqa: BLE001 - numpy and zipfile raise errors of many kinds for damaged files
        raise damaged(path, name, f"is not an archive of arrays ({_first_line(error)})") from None


def check_finite(folder: Path, vectors: NDArray[np.float32]) -> None:
    """Raise BundleError when a vector holds NaN or infinity."""
    if not np.isfinite(vectors).all():
        raise BundleError(
            f"{folder}: {ITEM_VECTORS} holds NaN or infinity; train the student again with a lower [training] "
            "learning_rate."
        )


def _column(path: Path, items: pa.Table, name: str) -> "pa.ChunkedArray":
    if name not in items.column_names:
        raise damaged(path, ITEMS, f"has no column {name}")
    column = items.column(name)
    if column.null_count:
        raise damaged(path, ITEMS, f"has a row without {name}")
    return column


def damaged(path: Path, name: str, problem: str) -> BundleError:
    """Return the error for a file of a bundle with a problem, such as "is not an array"."""
    return BundleError(f"{path}: {name} {problem}; the bundle is damaged, publish it again.")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
