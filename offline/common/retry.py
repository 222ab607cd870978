"""Waiting for a database that is away for a moment: bounded, with growing pauses, said aloud once."""

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from retort.shared.base.errors import StoreError, StoreOutdatedError

T = TypeVar("T")
_logger = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0


def retry_on_db_error(act: Callable[[], T], retry_for_s: float) -> T:
    """`act()`, again and again for `patience_s` seconds while the database cannot be used; then its last error.

    `act` must be one transaction whose repetition does no harm: it may have been committed before the line broke.
    """
    give_up_at, pause_s = time.monotonic() + retry_for_s, _FIRST_PAUSE_S
    told = False
    while True:
        try:
            return act()
        except StoreOutdatedError:
            raise  # no waiting brings a table
        except (StoreError, DBAPIError) as error:
            if time.monotonic() + pause_s > give_up_at or not _may_pass(error):
                raise
            if not told:
                _logger.warning("the database cannot be used (%s); trying again for %g s", error, retry_for_s)
                told = True
        time.sleep(pause_s * random.uniform(0.5, 1.0))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _may_pass(error: StoreError | DBAPIError) -> bool:
    """A line that broke comes back; a value that does not fit never will."""
    return isinstance(error, StoreError) or error.connection_invalidated
