"""The heartbeat of a chunk: says that its worker lives, and stops the worker when it must."""

import logging
import threading
import time
from types import TracebackType

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from retort.offline.jobs.leases import HaltedError, Lease, LeaseLostError, LeaseRules, beat
from retort.offline.profiles.report import ProfilesReport
from retort.offline.profiles.token_budget import SpendingConfig
from retort.shared.base.errors import StoreError

_logger = logging.getLogger(__name__)


class Heart:
    """Beats in a thread of its own while the block runs, so that a long answer is no silence.

    What a beat learns (the lease is lost, the job is halted) is raised in the working thread, at its next answer.
    """

    def __init__(
        self,
        engine: Engine,
        lease: Lease,
        report: ProfilesReport,
        spending: SpendingConfig,
        rules: LeaseRules,
        stopping: threading.Event,
    ) -> None:
        self._engine, self._lease, self._report, self._spending = engine, lease, report, spending
        self._rules, self._stopping = rules, stopping
        self._ended = threading.Event()
        self._stop: LeaseLostError | HaltedError | None = None
        self._beat_at = time.monotonic()
        self._beating = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"heart of {lease.token[:6]}", daemon=True)

    @property
    def cost_usd(self) -> float:
        """Of this attempt so far; 0 where no prices are stated."""
        return self._spending.cost_usd(self._report.prompt_tokens, self._report.completion_tokens) or 0.0

    def __enter__(self) -> "Heart":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def kept(self, _report: ProfilesReport) -> None:
        """Called after each stored answer. Raises where the work has to end here."""
        if self._stopping.is_set():
            raise HaltedError("this worker was told to stop")
        if time.monotonic() - self._beat_at >= self._rules.beat_s:
            self._beat()
        if self._stop is not None:
            raise self._stop

    def _run(self) -> None:
        while not self._ended.wait(self._rules.beat_s) and self._stop is None:
            self._beat()

    def _beat(self) -> None:
        with self._beating:
            if self._stop is not None:
                return
            self._beat_at = time.monotonic()
            try:
                beat(self._engine, self._lease, self._report, self.cost_usd)
            except (LeaseLostError, HaltedError) as stop:
                self._stop = stop
            except (StoreError, DBAPIError) as error:
                # the work goes on; if this lasts, another worker takes over, and that does no harm
                _logger.warning("the heartbeat of chunk %s was not written: %s", self._lease.position, error)
