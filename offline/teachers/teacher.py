"""Knowledge of the language model, aligned to the split's users and items by id."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retort.shared.base.errors import TeacherError
from retort.shared.base.schema import PAD
from retort.shared.model.item_index import ItemIndex

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Rankings:
    """Ranked lists of a teacher at train events, best items first.

    Attributes:
        rows_E: Row of each train event below, −1 for events without a list.
        items: Item indexes (R, K), PAD where fewer.
        distances: Ascending distances (R, K) of the items from the teacher's output; inf at PAD.
        d_star: Distance (R,) of the true item, NaN where unknown.
    """

    rows_E: IntArray
    items: IntArray
    distances: FloatArray
    d_star: FloatArray


@dataclass(frozen=True)
class Distributions:
    """Truncated probability distributions of a teacher at train events: the best K items, all others are one tail.

    Attributes:
        rows_E: As in `Rankings`.
        items: Item indexes (R, K), PAD where fewer.
        probabilities: Probabilities (R, K) at `temperature`; what is missing to 1 belongs to the tail.
        true_ranks: Rank (R,) of the true item among all items, from 1.
        temperature: Temperature of the probabilities.
        learner_ranks: The same ranks by the model that learns from these distributions, at rows that it had not seen;
            None where unknown.
    """

    rows_E: IntArray
    items: IntArray
    probabilities: FloatArray
    true_ranks: IntArray
    temperature: float
    learner_ranks: IntArray | None = None


@dataclass(frozen=True)
class Teacher:
    """Knowledge of a teacher with masks; parts that are not used are None.

    Rows without knowledge are zero and masked: they count in no numerator and no denominator.

    Attributes:
        user_vectors: (n_users, P).
        has_user: Mask (n_users,) of `user_vectors`.
        item_vectors: (n_items + 1, E).
        has_item: Mask (n_items + 1,) of `item_vectors`.
        rankings: Ranked lists at train events.
        distributions: Distributions at train events.
        user_parts: Number of profiles that are concatenated in P.
        user_weights: Weight (n_users,) of each user's profile, mean 1; None: equal weights.
    """

    user_vectors: FloatArray | None = None
    has_user: BoolArray | None = None
    item_vectors: FloatArray | None = None
    has_item: BoolArray | None = None
    rankings: Rankings | None = None
    distributions: Distributions | None = None
    user_parts: int = 1
    user_weights: FloatArray | None = None


@dataclass(frozen=True)
class Aligned:
    """Vectors in the order of an index, with a mask of the rows that have one."""

    vectors: FloatArray
    present: BoolArray

    @property
    def coverage(self) -> float:
        """Share of rows that have a vector."""
        return float(self.present.mean()) if len(self.present) else 0.0


def align_users(user_ids: Sequence[str], ids: Sequence[str], vectors: FloatArray) -> Aligned:
    """Join vectors to the split's users by id.

    Raises:
        TeacherError: No id matches, or an id is repeated.
    """
    return _align(user_ids, ids, vectors, "user")


def align_items(items: ItemIndex, ids: Sequence[str], vectors: FloatArray) -> Aligned:
    """Join vectors to item indexes by id; row 0 is PAD.

    Raises:
        TeacherError: No id matches, or an id is repeated.
    """
    aligned = _align(items.ids, ids, vectors, "item")
    pad = ((PAD + 1, 0), (0, 0))
    return Aligned(np.pad(aligned.vectors, pad), np.pad(aligned.present, (PAD + 1, 0)))


def _align(wanted: Sequence[str], ids: Sequence[str], vectors: FloatArray, kind: str) -> Aligned:
    if len(ids) != len(vectors):
        raise TeacherError(f"there are {len(ids)} {kind} ids and {len(vectors)} vectors; write the file again.")
    rows = {one: row for row, one in enumerate(ids)}
    if len(rows) != len(ids):
        raise TeacherError(f"a {kind}_id appears twice among the {kind} vectors; keep one vector per {kind}.")
    found = np.array([rows.get(one, -1) for one in wanted], dtype=np.int64)
    present = found >= 0
    if not present.any():
        raise TeacherError(
            f"none of the {len(ids)} {kind} ids of the vectors is a {kind} of this split "
            f"(vectors: {next(iter(ids), None)!r}, split: {next(iter(wanted), None)!r}); "
            "give the vectors that were made from this data."
        )
    aligned = np.zeros((len(wanted), vectors.shape[1]), dtype=np.float32)
    aligned[present] = vectors[found[present]]
    return Aligned(aligned, present)
