"""Places of users on the map by profile, for users whose profile may still be shown.

Users decide after a bundle was sealed. Users who erased, edited or pinned their profile, or whose data was erased, are
not shown by profile, not even if the same id has a history again. Records of erasures are kept for 90 days. A bundle
shows no profiles from 60 days on, so that an erasure during its training is still on record.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from retort.serving.catalogue.catalogue import Catalogue
from retort.serving.runtime.database import database_exists, query_database
from retort.serving.runtime.threads import CONSOLE_THREADS
from retort.serving.schemas.problems import Problem
from retort.serving.users.erasure import ErasureStore
from retort.shared.history.store import Owner
from retort.shared.profiles.profile_choices import find_choices

MAX_AGE = timedelta(days=60)
Place = tuple[int, int]


async def find_profile_places(
    catalogue: Catalogue, owners: Sequence[Owner], erasures: ErasureStore, database: str
) -> dict[str, Place]:
    """Map user id to place; empty while the users' choices cannot be read.

    Args:
        owners: Users of one tenant.

    Raises:
        StoreError: Erasures cannot be read.
        BundleError: The bundle's file is damaged.
    """
    sealed_at = catalogue.sealed_at
    if sealed_at is None or datetime.now(UTC) - sealed_at > MAX_AGE:
        return {}
    user_map = await CONSOLE_THREADS.run(lambda: catalogue.user_map)
    if user_map is None:
        return {}
    places = {owner: place for owner in owners if (place := user_map.place(owner.id)) is not None}
    erased = await asyncio.gather(*(erasures.read(owner) for owner in places))
    places = {owner: place for (owner, place), erasure in zip(places.items(), erased, strict=True) if erasure is None}
    if not places:
        return {}
    chosen = await _users_with_choice(database, list(places))
    return {} if chosen is None else {owner.id: place for owner, place in places.items() if owner.id not in chosen}


async def _users_with_choice(database: str, owners: Sequence[Owner]) -> set[str] | None:
    """Return the users who decided about their profile; None where that cannot be read."""
    if not database_exists(database):
        return set()  # a choice is stored in the database alone
    user_ids, tenant = [owner.id for owner in owners], owners[0].tenant
    try:
        return set(await query_database(database, lambda engine: find_choices(engine, user_ids, tenant=tenant)))
    except Problem:
        return None
