"""Teacher files as DLLM2Rec publishes them: all_embeddings.pt, myrank_train.txt, confidence_train.txt.

They name users and items by row only, so two more files must name the rows, and are checked:

    instances.csv   user_id, position: one row for each line of the two text files
    items.csv       item_id: one row for each embedding; numbers in myrank_train.txt count these rows from 0

The published confidence is the distance of each *candidate*; the distance of the true item is known only where it is
one of them (`d_star` is NaN elsewhere).
"""

import csv
import pickle
from pathlib import Path

import numpy as np

from retort.offline.data.split import Split
from retort.offline.embeddings.vectors import Vectors
from retort.offline.teachers.ranked_lists import join_lists
from retort.offline.teachers.teacher import FloatArray, IntArray, Rankings
from retort.shared.base.errors import TeacherError

EMBEDDINGS, RANKS, CONFIDENCE = "all_embeddings.pt", "myrank_train.txt", "confidence_train.txt"
INSTANCES, ITEMS = "instances.csv", "items.csv"


def read_published_items(directory: Path) -> Vectors:
    """Read the item embeddings by id; only tensors are loaded from the file, nothing executable."""
    import torch

    path = directory / EMBEDDINGS
    item_ids = [row["item_id"] for row in _rows(directory / ITEMS, ("item_id",))]
    try:
        loaded = torch.load(_existing(path), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise TeacherError(f"{path} holds more than tensors, or is damaged ({str(error).splitlines()[0]}).") from None
    if not isinstance(loaded, torch.Tensor) or loaded.dim() != 2:
        raise TeacherError(f"{path} must hold one tensor (items, width); it holds {type(loaded).__name__}.")
    if len(loaded) != len(item_ids):
        raise TeacherError(f"{path} has {len(loaded)} rows, {directory / ITEMS} names {len(item_ids)} items.")
    return Vectors(item_ids, loaded.float().numpy())


def read_published_rankings(directory: Path, split: Split) -> Rankings:
    """Read the ranked lists of the train instances, joined by id."""
    instances = _rows(directory / INSTANCES, ("user_id", "position"))
    item_ids = np.array([row["item_id"] for row in _rows(directory / ITEMS, ("item_id",))])
    ranks, distances = _numbers(directory / RANKS), _numbers(directory / CONFIDENCE)
    if ranks.shape != distances.shape or len(ranks) != len(instances):
        raise TeacherError(
            f"{directory}: {RANKS} is {ranks.shape}, {CONFIDENCE} {distances.shape}, and {INSTANCES} names "
            f"{len(instances)} rows; all three must agree."
        )
    if ranks.size and not (ranks.min() >= 0 and ranks.max() < len(item_ids)):
        raise TeacherError(
            f"{directory / RANKS} names item number {int(ranks.max())}, {ITEMS} has {len(item_ids)}; they count from 0."
        )
    width = min(ranks.shape[1], distances.shape[1])
    positions = np.array([_position(row["position"], directory) for row in instances], dtype=np.int64)
    names = item_ids[ranks.astype(np.int64)].tolist()
    users = [row["user_id"] for row in instances]
    joined = join_lists(split, users, positions, names, distances[:, :width].tolist(), np.inf, str(directory))
    d_star = _d_star(split, joined.rows_E, joined.items, joined.values)
    return Rankings(joined.rows_E, joined.items, joined.values, d_star)


def _d_star(split: Split, rows_E: IntArray, items: IntArray, distances: FloatArray) -> FloatArray:
    d_star = np.full(len(items), np.nan, dtype=np.float32)
    events = np.flatnonzero(rows_E >= 0)
    rows = rows_E[events]
    hit = items[rows] == split.train.values[events][:, None]
    found = hit.any(1)
    d_star[rows[found]] = distances[rows[found], hit[found].argmax(1)]
    return d_star


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    with _existing(path).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if missing := [column for column in columns if column not in (reader.fieldnames or ())]:
            raise TeacherError(
                f"{path} has no column {missing[0]!r}; it must name the rows of the files in its directory."
            )
        return list(reader)


def _numbers(path: Path) -> FloatArray:
    """(rows, K); commas, tabs and spaces separate numbers."""
    lines = _existing(path).read_text(encoding="utf-8").replace(",", " ").splitlines()
    try:
        rows = [[float(number) for number in line.split()] for line in lines if line.strip()]
    except ValueError as error:
        raise TeacherError(f"{path}: {error}; each line is a row of numbers.") from None
    if len({len(row) for row in rows}) > 1:
        raise TeacherError(f"{path}: its lines have different numbers of values; each must have K.")
    numbers = np.array(rows, dtype=np.float64).astype(np.float32) if rows else np.empty((0, 0), np.float32)
    if not np.isfinite(numbers).all():
        row = int(np.flatnonzero(~np.isfinite(numbers).all(axis=1))[0])
        raise TeacherError(f"{path}, row {row + 1}: a number is NaN or infinite; write the lists again.")
    return numbers


def _position(text: str, directory: Path) -> int:
    if not text.strip().isdigit():
        raise TeacherError(f"{directory / INSTANCES}: position {text!r} is no whole number; it counts from 0.")
    return int(text)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise TeacherError(f"there is no {path}; the published teacher has {EMBEDDINGS}, {RANKS}, {CONFIDENCE}.")
    return path
