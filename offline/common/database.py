"""The database of the offline side: opened at the current schema version, and retried while it is unavailable."""

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from retort.shared.base.errors import StoreError, StoreOutdatedError
from retort.shared.base.settings import Settings
from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database

T = TypeVar("T")
_logger = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0


def migrate_and_open(settings: Settings) -> Engine:
    """Open the database; its tables are created or migrated to the current version first."""
    upgrade(settings.database)
    return open_database(settings.database)


def retry_on_db_error(act: Callable[[], T], retry_for_s: float) -> T:
    """Repeat `act`, with growing pauses, while the database is unavailable. After `retry_for_s` the error is raised.

    `act` must be one transaction that can be repeated without harm: it may have been committed before the connection
    broke. The first failure is logged, the others are not.
    """
    give_up_at, pause_s = time.monotonic() + retry_for_s, _FIRST_PAUSE_S
    logged = False
    while True:
        try:
            return act()
        except StoreOutdatedError:
            raise  # waiting creates no table
        except (StoreError, DBAPIError) as error:
            if time.monotonic() + pause_s > give_up_at or not _is_temporary(error):
                raise
            if not logged:
                _logger.warning("the database is unavailable (%s); retrying for %g s", error, retry_for_s)
                logged = True
        time.sleep(pause_s * random.uniform(0.5, 1.0))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _is_temporary(error: StoreError | DBAPIError) -> bool:
    """A broken connection comes back; a value that the database refuses stays refused."""
    return isinstance(error, StoreError) or error.connection_invalidated
