"""Map of users: each among the items that the profile speaks of, found by a hash; nothing else is in the file."""

from pathlib import Path

import numpy as np
import pytest

from retort.offline.embeddings.vectors import Vectors
from retort.offline.export.user_map import write_user_map
from retort.shared.base.errors import BundleError
from retort.shared.model.bundle_files import ITEM_MAP
from retort.shared.model.item_index import ItemIndex
from retort.shared.model.user_map import USER_MAP, hash_user, parse_user_map

GROUPS, PER_GROUP, WIDTH = 4, 12, 16
N_ITEMS = GROUPS * PER_GROUP
CORNERS = np.array([[5_000, 5_000], [60_000, 5_000], [5_000, 60_000], [60_000, 60_000]])
RANDOM = np.random.default_rng(0)
CENTRES = RANDOM.normal(size=(GROUPS, WIDTH))
ITEMS = Vectors([f"i{n}" for n in range(N_ITEMS)], np.repeat(CENTRES, PER_GROUP, axis=0).astype(np.float32))
# profiles are longer than titles: they have a direction in common
PROFILES = Vectors([f"u{n}" for n in range(GROUPS)], (CENTRES + 5 * RANDOM.normal(size=WIDTH)).astype(np.float32))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    np.save(tmp_path / ITEM_MAP, np.repeat(CORNERS, PER_GROUP, axis=0).astype(np.uint16))
    return tmp_path


def test_users_are_among_the_items_of_their_profile(folder: Path) -> None:
    write_user_map(folder, PROFILES, ITEMS, ItemIndex(ITEMS.ids))
    content = (folder / USER_MAP).read_bytes()
    found = parse_user_map(folder, content)
    for group, user_id in enumerate(PROFILES.ids):
        place = found.place(user_id)
        assert place is not None
        assert np.abs(np.array(place) - CORNERS[group]).max() < 100
    assert found.place("somebody") is None
    assert sorted(found.users.tolist()) == sorted(map(hash_user, PROFILES.ids))
    assert b"u0" not in content


@pytest.mark.parametrize(
    "profiles",
    [Vectors(["u1"], np.ones((1, 8), np.float32)), Vectors(["u1"], np.ones((1, WIDTH), np.float32), parts=2)],
)
def test_vectors_that_do_not_fit_the_items_have_no_map(folder: Path, profiles: Vectors) -> None:
    write_user_map(folder, profiles, ITEMS, ItemIndex(ITEMS.ids))
    assert not (folder / USER_MAP).exists()


def test_without_a_map_of_the_items_there_is_none_of_users(tmp_path: Path) -> None:
    write_user_map(tmp_path, PROFILES, ITEMS, ItemIndex(ITEMS.ids))
    assert not (tmp_path / USER_MAP).exists()


@pytest.mark.parametrize(
    ("users", "places"),
    [
        (np.array([2, 1], np.uint64), np.zeros((2, 2), np.uint16)),
        (np.array([1, 2], np.uint64), np.zeros((1, 2), np.uint16)),
        (np.array([1, 2], np.int64), np.zeros((2, 2), np.uint16)),
    ],
)
def test_a_map_of_another_form_is_refused(tmp_path: Path, users: np.ndarray, places: np.ndarray) -> None:
    np.savez(tmp_path / USER_MAP, users=users, places=places)
    with pytest.raises(BundleError, match="damaged"):
        parse_user_map(tmp_path, (tmp_path / USER_MAP).read_bytes())
