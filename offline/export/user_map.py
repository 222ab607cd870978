"""Map of users by profile: each user among the items whose texts are nearest to the profile.

Profiles and item texts are vectors of one text encoder. Both are centred first: profiles are longer than titles, and
their common direction would draw all users to the same items. The map of the items itself comes from the student, so
the places show whether what a profile says agrees with what the student knows.

Shapes: N items, U users, E width of the encoder.
"""

from pathlib import Path

import numpy as np

from retort.offline.embeddings.vectors import FloatArray, Vectors, normalize_rows
from retort.offline.export.item_map import MAX_ANCHORS, place_among
from retort.shared.model.bundle_files import ITEM_MAP
from retort.shared.model.item_index import ItemIndex
from retort.shared.model.user_map import USER_MAP, hash_user

MAX_USERS = 1_000_000  # 12 MB


def write_user_map(folder: Path, profiles: Vectors, texts: Vectors, index: ItemIndex) -> None:
    """Write the places of the users to the folder of a bundle that is sealed next, beside its map of the items.

    Nothing is written without a map of the items, for more than `MAX_USERS` users, for vectors of two encoders, or
    where fewer than four items have a text.

    Args:
        profiles: Vector of each user's profile.
        texts: Vector of each item's text; the most popular items are those with the smallest index.
    """
    rows = [(item, row) for row, item_id in enumerate(texts.ids) if (item := index.index(item_id)) is not None]
    anchors = np.array(sorted(rows)[:MAX_ANCHORS], dtype=np.int64)
    is_alike = profiles.parts == 1 and profiles.vectors.shape[1] == texts.vectors.shape[1]
    if not (folder / ITEM_MAP).exists() or not is_alike or len(anchors) < 4 or not 0 < len(profiles.ids) <= MAX_USERS:
        return
    item_places = np.load(folder / ITEM_MAP, allow_pickle=False)[anchors[:, 0] - 1].astype(np.float32)
    places = place_among(
        _centred(profiles.vectors), normalize_rows(_centred(texts.vectors[anchors[:, 1]])), item_places
    )
    users, order = np.unique(np.array([hash_user(user_id) for user_id in profiles.ids], np.uint64), return_index=True)
    np.savez_compressed(folder / USER_MAP, users=users, places=np.round(places[order]).astype(np.uint16))


def _centred(vectors: FloatArray) -> FloatArray:
    return vectors - vectors.mean(axis=0)
