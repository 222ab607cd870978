"""Interactions as labelled pairs of a user and an item, with what is known of both.

Each user's events stand in time: what the split trains on is trained on (profiles were written from these alone); of
the later ones the oldest third validates, the others are tested. With `[split] train_share = 0.7` that is the paper's
70/10/20.
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
    """users (R,), items (R,): rows of the tables of `CtrData`; labels (R,): 0 or 1."""

    users: IntArray
    items: IntArray
    labels: FloatArray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class CtrData:
    """fields_IL: per field of an item its values (I, L), 0 where fewer; the first is the item itself, 0 if train never
    saw it. field_sizes: values of each field, 0 included. users, items: knowledge (U, E) and (I, E); targets (U, P):
    what a taught model is to tell of a user.
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
        """Everyone has the knowledge of another."""
        users, items, targets = (
            replace(one, vectors=controls.shuffled(one.vectors, one.present, seed))
            for one in (self.users, self.items, self.targets)
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
    """profiles and texts: of users and items, by one encoder. DataError where the interactions carry no labels."""
    frame = interactions.frame
    if frame["weight"].null_count():
        raise DataError("some interactions have no weight, so they have no label; name a column of ratings in [data].")
    item_ids = items.frame["item_id"].to_list()
    frame = _indexed(frame, split, item_ids).with_columns(label=(pl.col("weight") >= positive_from).cast(pl.Float32))
    late = pl.col("place") - pl.col("n_train")
    n_checked = ((pl.col("n_events") - pl.col("n_train")) // 3).clip(lower_bound=1)
    train = frame.filter(late < 0)
    validation = _rows(frame.filter((late >= 0) & (late < n_checked)), "validation")
    test = _rows(frame.filter(late >= n_checked), "test")
    seen = np.isin(np.arange(len(item_ids) + 1), train["item"].to_numpy())
    fields = [np.where(seen, np.arange(len(item_ids) + 1), 0)[:, None], *_attributes(items)]
    if profiles.vectors.shape[1] // profiles.parts != texts.vectors.shape[1]:
        raise TeacherError("profiles and item texts have vectors of different widths; encode both by one [encoder].")
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
    """With rows of the tables (from 1), the place in the user's history, and how long train's part of it is."""
    people = pl.DataFrame(
        {
            "user_id": list(split.user_ids),
            "user": np.arange(1, len(split.user_ids) + 1),
            "n_train": split.train.lengths,
        }
    )
    things = pl.DataFrame({"item_id": item_ids, "item": np.arange(1, len(item_ids) + 1)})
    placed = frame.with_columns(place=pl.int_range(pl.len()).over("user_id"), n_events=pl.len().over("user_id"))
    placed = placed.with_columns(pl.col("n_events").cast(pl.Int64))
    return placed.join(people, on="user_id", maintain_order="left").join(things, on="item_id", maintain_order="left")


def _rows(frame: pl.DataFrame, name: str) -> Rows:
    columns = (frame[name].to_numpy(writable=True) for name in ("user", "item", "label"))  # torch wants writable ones
    rows = Rows(*columns)
    if len(np.unique(rows.labels)) < 2:
        raise DataError(
            f"the {len(rows)} labels of {name} are all alike, so there is nothing to rank; choose another "
            "[ctr] positive_from, a smaller [split] train_share, or leave [data] min_weight."
        )
    return rows


def _attributes(items: Items) -> list[IntArray]:
    """(I, L) a column of texts, lists, whole numbers or truth values whose values several items share."""
    fields = []
    for name in items.attributes:
        column = items.frame[name]
        if column.dtype.is_float():
            continue
        lists = column if column.dtype == pl.List else column.cast(pl.String).reshape((-1, 1)).arr.to_list()
        values = lists.explode().drop_nulls()
        counts = values.value_counts(sort=True, name="times").filter(pl.col("times") > 1)
        # as many values as items say no more than the item itself
        if 1 < counts.height <= len(column) // 2:
            fields.append(_filled(lists.to_list(), {one: place for place, one in enumerate(counts[name], start=1)}))
    return fields


def _filled(lists: list[list[str] | None], codes: dict[str, int]) -> IntArray:
    known = [[codes[one] for one in row or () if one in codes] for row in lists]
    table = np.zeros((len(known) + 1, max(map(len, known))), dtype=np.int64)
    for row, values in enumerate(known, start=1):
        table[row, : len(values)] = values
    return table


def _mean_of_parts(stored: Vectors) -> FloatArray:
    mean: FloatArray = stored.vectors.reshape(len(stored.ids), stored.parts, -1).mean(axis=1)
    return mean


def _padded(aligned: Aligned) -> Aligned:
    """With a first row for the unknown."""
    return Aligned(np.pad(aligned.vectors, ((1, 0), (0, 0))), np.pad(aligned.present, (1, 0)))
