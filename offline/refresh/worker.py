"""A worker: takes chunks while there are any, writes their profiles, and leaves nothing behind when it is stopped.

It may be killed at any moment: what it wrote stands in the store, its chunk is taken over when its lease ends, and the
next worker asks only for what is missing.
"""

import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from retort.offline.common.database import retry_on_db_error
from retort.offline.common.progress import Progress, Silent
from retort.offline.common.tracing import span
from retort.offline.jobs.heartbeat import Heart
from retort.offline.jobs.leases import (
    HaltedError,
    Lease,
    LeaseLostError,
    LeaseRules,
    end_chunk,
    fail_chunk,
    lease_chunk,
    release_chunk,
    worker_name,
)
from retort.offline.profiles.backends._base import ProfileBackend, ServedModelError
from retort.offline.profiles.batch_writer import ProfileWriter
from retort.offline.profiles.config import ProfilesConfig, open_backend
from retort.offline.profiles.faithfulness import FaithfulnessChecker
from retort.offline.profiles.history import Catalogue
from retort.offline.profiles.profile_tasks import PriorProfile
from retort.offline.profiles.report import ProfilesReport
from retort.offline.profiles.store import ProfileStore
from retort.offline.refresh.jobs import JobSpec, read_spec
from retort.offline.refresh.snapshot import Snapshot, open_snapshot
from retort.shared.base.errors import RecipeError, RetortError, StoreError
from retort.shared.base.hashing import hash_json
from retort.shared.base.settings import LanguageModelSettings

_logger = logging.getLogger(__name__)

PATIENCE_S = 120.0  # how long one call waits for a database that is away
OpenBackend = Callable[[ProfilesConfig, LanguageModelSettings], ProfileBackend]


class RefreshWorker:
    """One process (one GPU) of the factory. The model stays loaded from chunk to chunk. Use as a context manager."""

    def __init__(
        self,
        engine: Engine,
        settings: LanguageModelSettings,
        rules: LeaseRules | None = None,
        *,
        progress: Progress | None = None,
        retry_for_s: float = PATIENCE_S,
        open_backend: OpenBackend = open_backend,
        before_look: Callable[[], object] = lambda: None,
    ) -> None:
        self._engine, self._settings, self._rules = engine, settings, rules or LeaseRules()
        self._progress, self._retry_for_s, self._open = progress or Silent(), retry_for_s, open_backend
        self.name = worker_name()
        self.stopping = threading.Event()
        self.grace_s = 30.0  # for the answers in flight, when told to stop
        self._model: tuple[str, ProfileBackend] | None = None
        self._place: tuple[str, _Place] | None = None
        self._before_look = before_look
        # two locks make a fair turn: who waits holds the door, so the chunks of a long refresh cannot slip past
        self._door, self._turn = threading.Lock(), threading.Lock()

    def __enter__(self) -> "RefreshWorker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the model."""
        if self._model is not None:
            self._model[1].close()
            self._model = None

    @contextmanager
    def exclusive_gpu(self) -> Iterator[None]:
        """While the block runs, another thread has this process's GPU: no chunk is in hand and no model is loaded."""
        with self._my_turn():
            if self.stopping.is_set():
                raise StoreError("this worker was told to stop; another one will do it.")
            self.close()
            yield

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        with self._door:
            self._turn.acquire()
        try:
            yield
        finally:
            self._turn.release()

    def work_on(self, job_id: str | None = None) -> int:
        """Do chunks of one job, or of any, until none can be taken; how many were done."""
        n_done = 0
        self._before_look()
        while not self.stopping.is_set():
            with self._my_turn():
                lease = retry_on_db_error(
                    lambda: lease_chunk(self._engine, self.name, self._rules, job_id), self._retry_for_s
                )
                if lease is None:
                    break
                n_done += self._do(lease)
        return n_done

    def work_forever(self, wake: threading.Event, poll_s: float) -> None:
        """Look for work when woken, and every poll_s anyway: messages get lost. Ends when `stopping` is set."""
        while not self.stopping.is_set():
            try:
                self.work_on()
            except (StoreError, DBAPIError) as error:
                _logger.warning("%s; looking again in %g s", error, poll_s)
            wake.wait(poll_s)
            wake.clear()

    def _do(self, lease: Lease) -> bool:
        """One chunk, whatever comes of it. True: it is done."""
        report = ProfilesReport("")
        try:
            spec = retry_on_db_error(lambda: read_spec(self._engine, lease.job_id), self._retry_for_s)
            backend = self._backend(spec.profiles)
            report.backend = backend.model
        except (ServedModelError, RecipeError) as error:
            # every worker would meet it: the job's fault, and no reason to stop working for others
            self._fail(lease, report, 0.0, error)
            return False
        except BaseException:
            # no fault of the chunk: another worker may be able to
            self._settle(lambda: release_chunk(self._engine, lease, report, 0.0))
            raise
        heart = Heart(self._engine, lease, report, spec.profiles.spending, self._rules, self.stopping)
        try:
            with heart, span("refresh chunk", spec.trace, job=lease.job_id, chunk=lease.position, users=lease.n_users):
                self._write(lease, spec, backend, report, heart)
        except LeaseLostError as error:
            _logger.warning("%s", error)
        except HaltedError as error:
            _logger.info("%s", error)
            self._settle(lambda: release_chunk(self._engine, lease, report, heart.cost_usd))
        except (KeyboardInterrupt, SystemExit):
            self._settle(lambda: release_chunk(self._engine, lease, report, heart.cost_usd))
            raise
        except (StoreError, DBAPIError):
            raise  # it was waited for long enough; the lease ends by itself
        except Exception as error:  # noqa: BLE001 - whatever it was becomes the chunk's reason
            self._fail(lease, report, heart.cost_usd, error)
        else:
            return self._settle(lambda: end_chunk(self._engine, lease, report, heart.cost_usd))
        return False

    def _write(
        self, lease: Lease, spec: JobSpec, backend: ProfileBackend, report: ProfilesReport, heart: Heart
    ) -> None:
        place = self._at(lease.job_id, spec)
        requests = place.snapshot.chunk(lease.position)
        priors = {one.history.user_id: PriorProfile(one.profile, one.n_covered) for one in requests if one.profile}
        store = ProfileStore(self._engine, spec.tenant, self._retry_for_s)
        writer = ProfileWriter(
            spec.profiles, store, backend, place.catalogue, place.checker, report, self._progress, kept=heart.kept
        )
        writer.write_chunk([request.history for request in requests], priors)
        # while there are attempts left, who got no answer is asked again; then they alone are without a profile
        report.stop_if_unanswered(0.0 if lease.attempt < self._rules.max_attempts else spec.profiles.max_failed)

    def _settle(self, act: Callable[[], None]) -> bool:
        """Write how a chunk ended; a lease that is lost by now is the other worker's affair."""
        try:
            retry_on_db_error(act, self._retry_for_s)
        except LeaseLostError as error:
            _logger.warning("%s", error)
            return False
        return True

    def _fail(self, lease: Lease, report: ProfilesReport, cost_usd: float, error: Exception) -> None:
        known = isinstance(error, RetortError)
        sentence = str(error) if known else traceback.format_exception_only(error)[-1].strip()
        _logger.error(
            "chunk %s of %s failed: %s", lease.position, lease.job_id[:8], sentence, exc_info=None if known else error
        )
        self._settle(lambda: _failed(self._engine, lease, report, cost_usd, sentence, self._rules))

    def _backend(self, config: ProfilesConfig) -> ProfileBackend:
        """The loaded model, if it is the one that is wanted; else that one, after the other has made room."""
        wanted = hash_json([config.backend, config.options, config.parameters])
        if self._model is None or self._model[0] != wanted:
            self.close()
            self._model = wanted, self._open(config, self._settings)
        return self._model[1]

    def _at(self, job_id: str, spec: JobSpec) -> "_Place":
        if self._place is None or self._place[0] != job_id:
            self._place = job_id, _Place(spec)
        return self._place[1]


def _failed(
    engine: Engine, lease: Lease, report: ProfilesReport, cost_usd: float, sentence: str, rules: LeaseRules
) -> None:
    fail_chunk(engine, lease, report, cost_usd, sentence, rules)


class _Place:
    """What all chunks of one job share."""

    def __init__(self, spec: JobSpec) -> None:
        self.snapshot: Snapshot = open_snapshot(spec.snapshot)
        config = spec.profiles
        self.catalogue = Catalogue(self.snapshot.items, config.attributes, config.item_text_chars)
        self.checker = FaithfulnessChecker(self.catalogue.vocabulary)
