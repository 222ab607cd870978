"""Work under a lease: a heartbeat renews the lease, and the way the work ends decides how its row ends."""

import logging
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy.exc import DBAPIError

from retort.offline.common.background import BackgroundThread
from retort.offline.common.database import retry_on_db_error
from retort.offline.jobs.leases import HaltedError, LeaseLostError, WorkItem
from retort.shared.base.disk import disk_full_sentence, is_disk_full
from retort.shared.base.errors import RetortError, StoreError
from retort.shared.base.text import clean_text

_logger = logging.getLogger(__name__)


class Heartbeat(BackgroundThread):
    """Renews a lease in a thread of its own while the block runs, so that a long computation does not look dead.

    If a renewal finds that the lease is lost or the work must end, `check` raises it in the working thread.
    """

    def __init__(self, item: WorkItem, stopping: threading.Event | None = None) -> None:
        super().__init__(f"heartbeat {item.lease.token[:6]}")
        self._item, self._stopping = item, stopping
        self._stop: LeaseLostError | HaltedError | None = None

    def check(self) -> None:
        """Raise LeaseLostError or HaltedError if the work must end here."""
        if self._stopping is not None and self._stopping.is_set():
            raise HaltedError("this worker is stopping")
        if self._stop is not None:
            raise self._stop

    def _run(self) -> None:
        while self._stop is None and not self._ended.wait(self._item.rules.beat_s):
            try:
                self._item.renew()
            except (LeaseLostError, HaltedError) as stop:
                self._stop = stop
            except (StoreError, DBAPIError) as error:
                # The work goes on. If this lasts, another worker takes over, which does no harm.
                _logger.warning("the heartbeat of %s was not written: %s", self._item.lease.label, error)


def run_under_lease(
    item: WorkItem,
    work: Callable[[Heartbeat], object],
    *,
    stopping: threading.Event | None = None,
    retry_for_s: float = 0.0,
) -> bool:
    """Do the work while a heartbeat renews its lease, then finish, fail or release the row.

    Args:
        work: may call `Heartbeat.check` where it can end early.
        stopping: set when the worker has to stop; the row is released then.
        retry_for_s: how long the last write waits for a database that is down.

    Returns:
        Whether this worker finished the row.

    Raises:
        StoreError: a store is down. The row is released, because stores come back.
    """
    try:
        with Heartbeat(item, stopping) as heartbeat:
            work(heartbeat)
    except LeaseLostError as error:
        _logger.warning("%s", error)
    except HaltedError as error:
        _logger.info("%s", error)
        settle(item.release, retry_for_s)
    except StoreError:
        with suppress(StoreError, DBAPIError, LeaseLostError):  # the database itself may be down
            item.release()
        raise
    except DBAPIError:
        raise  # the lease expires by itself, and the attempt counts
    except Exception as error:  # noqa: BLE001 - every error becomes the row's reason, where people look for it
        record_failure(item, error, retry_for_s)
    except BaseException:
        settle(item.release, retry_for_s)
        raise
    else:
        return settle(item.finish, retry_for_s)
    return False


def record_failure(item: WorkItem, error: Exception, retry_for_s: float = 0.0) -> None:
    """Log an error and write its sentence to the row."""
    sentence = log_error(f"{item.lease.label} failed", error)
    settle(lambda: item.fail(sentence), retry_for_s)


def settle(write: Callable[[], object], retry_for_s: float = 0.0) -> bool:
    """Write how the work ended. Returns False if the lease was lost, because the row is then another worker's."""
    try:
        retry_on_db_error(write, retry_for_s)
    except LeaseLostError as error:
        _logger.warning("%s", error)
        return False
    return True


def log_error(what: str, error: Exception) -> str:
    """Log `what: sentence`, with the traceback of an unexpected error. Returns the sentence."""
    sentence = error_sentence(error)
    _logger.error("%s: %s", what, sentence, exc_info=None if isinstance(error, RetortError) else error)
    return sentence


def error_sentence(error: BaseException) -> str:
    """Turn an exception into one sentence: the message of our own errors, type and message of all others."""
    if not isinstance(error, RetortError) and is_disk_full(error):
        return disk_full_sentence()
    sentence = str(error) if isinstance(error, RetortError) else traceback.format_exception_only(error)[-1].strip()
    return clean_text(sentence)
