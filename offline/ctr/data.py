"""Data of the CTR models: labelled pairs of a user and an item, with knowledge of both.

Each user's events are in time order. The train events are those of the split, because profiles are written from them
alone. Of the later events the oldest third is for validation and the rest for the test. `[split] train_share = 0.7`
gives the paper's 70/10/20.
"""

# Shapes: R rows, U n_users + 1, I n_items + 1 (rows 0: unknown), F fields of an item, L values of a field, E width

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from retort.offline.data.interactions import Interactions, Items
from retort.offline.data.split import Split
from retort.offline.embeddings.vectors import Vectors
from retort.offline.teachers import controls
from retort.offline.teachers.teacher import Aligned, align_users
from retort.shared.base.errors import DataError, TeacherError

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Rows:
    """Labelled pairs: users (R,) and items (R,) as rows of the tables of `CtrData`, labels (R,) of 0 or 1."""

    users: IntArray
    items: IntArray
    labels: FloatArray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class CtrData:
    """Rows of the three parts, item fields, and knowledge of users and items.

    Attributes:
        train: Rows of the split's train events.
        validation: Rows that select the epoch.
        test: Rows that are scored once.
        fields_IL: For each field the values of each item (I, L), filled up with 0. The first field is the item itself,
            0 for an item without train events.
        field_sizes: Number of values of each field, with 0.
        users: Text vectors of the profiles (U, E).
        items: Text vectors of the items (I, E).
        targets: Reduced profile vectors (U, P), the targets of the LLM-KT arms.
    """

    train: Rows
    validation: Rows
    test: Rows
    fields_IL: tuple[IntArray, ...]
    field_sizes: tuple[int, ...]
    users: Aligned
    items: Aligned
    targets: Aligned

    def shuffled(self, seed: int) -> "CtrData":
        """Exchange the knowledge among users and among items, for the control arms."""
        users, items, targets = (
            replace(known, vectors=controls.shuffled(known.vectors, known.present, seed))
            for known in (self.users, self.items, self.targets)
        )
        return replace(self, users=users, items=items, targets=targets)


def make_data(
    split: Split,
    interactions: Interactions,
    items: Items,
    profiles: Vectors,
    texts: Vectors,
    targets: Vectors,
    positive_from: float,
) -> CtrData:
    """Make the data of the CTR models.

    Args:
        split: Gives users, items and each user's number of train events.
        interactions: All events, with weights.
        items: All items, with attributes.
        profiles: Text vectors of the users' profiles.
        texts: Text vectors of the items, by the same encoder.
        targets: Reduced vectors of the profiles.
        positive_from: Least weight of an interaction with label 1.

    Raises:
        DataError: Interactions have no weight, or all labels of a part are equal.
        TeacherError: Profiles and item texts have different widths.
    """
    frame = interactions.frame
    if frame["weight"].null_count():
        raise DataError("some interactions have no weight, so they have no label; name a column of ratings in [data].")
    item_ids = items.frame["item_id"].to_list()
    frame = _indexed(frame, split, item_ids).with_columns(label=(pl.col("weight") >= positive_from).cast(pl.Float32))
    position = pl.col("place") - pl.col("n_train")
    n_validation = ((pl.col("n_events") - pl.col("n_train")) // 3).clip(lower_bound=1)
    train = frame.filter(position < 0)
    validation = _rows(frame.filter((position >= 0) & (position < n_validation)), "validation")
    test = _rows(frame.filter(position >= n_validation), "test")
    seen = np.isin(np.arange(len(item_ids) + 1), train["item"].to_numpy())
    fields = [np.where(seen, np.arange(len(item_ids) + 1), 0)[:, None], *_attributes(items)]
    if profiles.vectors.shape[1] // profiles.parts != texts.vectors.shape[1]:
        raise TeacherError("profiles and item texts have vectors of different widths; encode both with one [encoder].")
    return CtrData(
        _rows(train, "train"),
        validation,
        test,
        tuple(fields),
        tuple(int(values.max()) + 1 for values in fields),
        _padded(align_users(split.user_ids, profiles.ids, _mean_of_parts(profiles))),
        _padded(align_users(item_ids, texts.ids, texts.vectors)),
        _padded(align_users(split.user_ids, targets.ids, _mean_of_parts(targets))),
    )


def _indexed(frame: pl.DataFrame, split: Split, item_ids: list[str]) -> pl.DataFrame:
    """Add rows of the tables (from 1), the position in the user's history, and the user's number of train events."""
    users = pl.DataFrame(
        {
            "user_id": list(split.user_ids),
            "user": np.arange(1, len(split.user_ids) + 1),
            "n_train": split.train.lengths,
        }
    )
    item_rows = pl.DataFrame({"item_id": item_ids, "item": np.arange(1, len(item_ids) + 1)})
    placed = frame.with_columns(place=pl.int_range(pl.len()).over("user_id"), n_events=pl.len().over("user_id"))
    placed = placed.with_columns(pl.col("n_events").cast(pl.Int64))
    return placed.join(users, on="user_id", maintain_order="left").join(item_rows, on="item_id", maintain_order="left")


def _rows(frame: pl.DataFrame, name: str) -> Rows:
    columns = (
        frame[name].to_numpy(writable=True) for name in ("user", "item", "label")
    )  # torch requires writable arrays
    rows = Rows(*columns)
    if len(np.unique(rows.labels)) < 2:
        raise DataError(
            f"the {len(rows)} {name} labels are all equal, so there is nothing to rank; set another "
            "[ctr] positive_from or a smaller [split] train_share, or remove [data] min_weight."
        )
    return rows


def _attributes(items: Items) -> list[IntArray]:
    """Values (I, L) of each column of texts, lists, integers or booleans whose values several items share."""
    fields = []
    for name in items.attributes:
        column = items.frame[name]
        if column.dtype.is_float():
            continue
        lists = column if column.dtype == pl.List else column.cast(pl.String).reshape((-1, 1)).arr.to_list()
        values = lists.explode().drop_nulls()
        counts = values.value_counts(sort=True, name="times").filter(pl.col("times") > 1)
        # a column with almost as many values as items identifies the item, and adds nothing to the item's own field
        if 1 < counts.height <= len(column) // 2:
            fields.append(
                _encode_values(lists.to_list(), {value: code for code, value in enumerate(counts[name], start=1)})
            )
    return fields


def _encode_values(lists: list[list[str] | None], codes: dict[str, int]) -> IntArray:
    known = [[codes[value] for value in row or () if value in codes] for row in lists]
    table = np.zeros((len(known) + 1, max(map(len, known))), dtype=np.int64)
    for row, values in enumerate(known, start=1):
        table[row, : len(values)] = values
    return table


def _mean_of_parts(stored: Vectors) -> FloatArray:
    mean: FloatArray = stored.vectors.reshape(len(stored.ids), stored.parts, -1).mean(axis=1)
    return mean


def _padded(aligned: Aligned) -> Aligned:
    """Add row 0 for unknown users or items."""
    return Aligned(np.pad(aligned.vectors, ((1, 0), (0, 0))), np.pad(aligned.present, (1, 0)))
