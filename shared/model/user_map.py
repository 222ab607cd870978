"""Map of users in a bundle: a place among the items for each user with a profile, found by a hash of the user id.

Neither user ids nor texts are in a bundle. A hash tells whether a known id is in the file; it is not anonymous.
"""

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retort.shared.model.bundle_files import damaged, read_arrays

USER_MAP = "user_map.npz"


def hash_user(user_id: str) -> int:
    """Return the number by which a bundle finds a user."""
    return int.from_bytes(blake2b(user_id.encode(), digest_size=8).digest(), "big")


@dataclass(frozen=True)
class UserMap:
    """Places of users by profile.

    Attributes:
        users: Hashes in ascending order, (U,).
        places: x and y on the map of the items, (U, 2), 0 to 65535.
    """

    users: NDArray[np.uint64]
    places: NDArray[np.uint16]

    def place(self, user_id: str) -> tuple[int, int] | None:
        """Return the place of a user, or None."""
        user = np.uint64(hash_user(user_id))
        at = int(np.searchsorted(self.users, user))
        if at == len(self.users) or self.users[at] != user:
            return None
        x, y = self.places[at].tolist()
        return int(x), int(y)


def parse_user_map(path: Path, content: bytes) -> UserMap:
    """Read the content of the file `USER_MAP`.

    Raises:
        BundleError: It is something else.
    """
    users, places = read_arrays(path, USER_MAP, content, ("users", "places"))
    if users.dtype != np.uint64 or users.ndim != 1 or places.dtype != np.uint16 or places.shape != (len(users), 2):
        raise damaged(path, USER_MAP, "has no place of 16 bits for each user")
    if (users[1:] <= users[:-1]).any():
        raise damaged(path, USER_MAP, "is not sorted by user")
    return UserMap(users, places)
