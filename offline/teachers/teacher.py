"""What was learnt from the language model, aligned to the split's users and items by id."""

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
    """What a teacher would recommend at moments of the training histories, best first.

    rows_E (train events,): for the event that was asked for, its row below, −1 where the teacher was not asked.
    items (R, K): item indexes, PAD where fewer. distances (R, K): ascending, how far each stands from what the teacher
    said; inf at PAD. d_star (R,): how far the true item stands, NaN where not known.
    """

    rows_E: IntArray
    items: IntArray
    distances: FloatArray
    d_star: FloatArray


@dataclass(frozen=True)
class Distributions:
    """A teacher's probabilities at moments of the training histories: the best K, the rest is one tail.

    rows_E as in `Rankings`. items (R, K): item indexes, PAD where fewer. probabilities (R, K): at `temperature`, their
    sum at most 1, what is missing is the tail's. true_ranks (R,): the true item's rank among all items, from 1.
    listener_ranks (R,): the same by the model that is to learn from this, when it had not seen the row; or unknown.
    """

    rows_E: IntArray
    items: IntArray
    probabilities: FloatArray
    true_ranks: IntArray
    temperature: float
    learner_ranks: IntArray | None = None


@dataclass(frozen=True)
class Teacher:
    """Knowledge with a mask of who has it. Parts that a method does not use are None.

    user_vectors (n_users, P), has_user (n_users,); item_vectors (n_items + 1, E), has_item (n_items + 1,).
    user_parts: how many profiles of a user stand side by side in P, each P / user_parts wide.
    user_weights (n_users,): how far each user's profile is to be believed, mean 1; None: all alike.
    Rows without knowledge are zero and masked out: they count in no numerator and no denominator.
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
    """Vectors in the order of an index, and which rows have one."""

    vectors: FloatArray
    present: BoolArray

    @property
    def coverage(self) -> float:
        """Share of rows that have a vector."""
        return float(self.present.mean()) if len(self.present) else 0.0


def align_users(user_ids: Sequence[str], ids: Sequence[str], vectors: FloatArray) -> Aligned:
    """Join vectors to the split's users by id. Raises if not one id matches."""
    return _align(user_ids, ids, vectors, "user")


def align_items(items: ItemIndex, ids: Sequence[str], vectors: FloatArray) -> Aligned:
    """Join vectors to item indexes by id; row 0 is PAD. Raises if not one id matches."""
    aligned = _align(items.ids, ids, vectors, "item")
    pad = ((PAD + 1, 0), (0, 0))
    return Aligned(np.pad(aligned.vectors, pad), np.pad(aligned.present, (PAD + 1, 0)))


def _align(wanted: Sequence[str], ids: Sequence[str], vectors: FloatArray, kind: str) -> Aligned:
    if len(ids) != len(vectors):
        raise TeacherError(f"{len(ids)} {kind} ids stand beside {len(vectors)} vectors; write the file again.")
    rows = {one: row for row, one in enumerate(ids)}
    if len(rows) != len(ids):
        raise TeacherError(f"a {kind}_id appears twice among the {kind} vectors; each {kind} has one vector.")
    found = np.array([rows.get(one, -1) for one in wanted], dtype=np.int64)
    present = found >= 0
    if not present.any():
        raise TeacherError(
            f"none of the {len(ids)} {kind} ids of the vectors is a {kind} of this split "
            f"(theirs like {next(iter(ids), None)!r}, ours like {next(iter(wanted), None)!r}); "
            "give the vectors that were made from this data."
        )
    aligned = np.zeros((len(wanted), vectors.shape[1]), dtype=np.float32)
    aligned[present] = vectors[found[present]]
    return Aligned(aligned, present)
