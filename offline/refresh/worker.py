"""The refresh worker: acquires chunks while any are due and writes their profiles.

It may be killed at any moment. The profiles that it wrote are in the store, another worker takes over its chunk when
the lease expires, and that worker generates only the profiles that are missing.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from retort.offline.common.database import retry_on_db_error
from retort.offline.common.progress import Progress, Silent
from retort.offline.common.tracing import span
from retort.offline.jobs.heartbeat import Heartbeat, record_failure, run_under_lease, settle
from retort.offline.jobs.leases import LeaseRules, worker_name
from retort.offline.knowledge import config as knowledge_config
from retort.offline.knowledge.config import KnowledgeConfig
from retort.offline.knowledge.describe import own_words
from retort.offline.knowledge.store import KnowledgeStore
from retort.offline.knowledge.writer import ItemWriter
from retort.offline.profiles.backends._base import ProfileBackend, ServedModelError
from retort.offline.profiles.batch_writer import ProfileWriter
from retort.offline.profiles.config import ProfilesConfig, open_backend, open_catalogue
from retort.offline.profiles.faithfulness import FaithfulnessChecker
from retort.offline.profiles.profile_tasks import PriorProfile
from retort.offline.profiles.store import ProfileStore
from retort.offline.refresh.chunks import ChunkItem, lease_chunk
from retort.offline.refresh.items import ItemInputs
from retort.offline.refresh.jobs import JobSpec, read_spec
from retort.offline.refresh.new_items import make_work, open_placement
from retort.offline.refresh.snapshot import Snapshot, open_snapshot
from retort.shared.base.errors import BundleError, KnowledgeError, RecipeError, StoreError
from retort.shared.base.hashing import hash_json
from retort.shared.base.settings import LanguageModelSettings
from retort.shared.model.registry import RegistryError
from retort.shared.profiles.new_items import NewItems

_logger = logging.getLogger(__name__)

RETRY_FOR_S = 120.0  # how long one call waits for a database that is down
Work = Callable[[Heartbeat], None]
OpenBackend = Callable[[ProfilesConfig, LanguageModelSettings], ProfileBackend]
OpenItemBackend = Callable[[KnowledgeConfig, LanguageModelSettings], ProfileBackend]


class RefreshWorker:
    """A worker that writes profiles with one loaded model, which it keeps from chunk to chunk. A context manager.

    Args:
        rules: leases and retries of chunks.
        retry_for_s: how long a database call waits for a database that is down.
        before_look: called before each search for chunks; it turns HTTP requests into refreshes.
    """

    def __init__(
        self,
        engine: Engine,
        settings: LanguageModelSettings,
        rules: LeaseRules | None = None,
        *,
        progress: Progress | None = None,
        retry_for_s: float = RETRY_FOR_S,
        open_backend: OpenBackend = open_backend,
        open_item_backend: OpenItemBackend = knowledge_config.open_backend,
        before_look: Callable[[], object] = lambda: None,
    ) -> None:
        self._engine, self._settings, self._rules = engine, settings, rules or LeaseRules()
        self._progress, self._retry_for_s, self._open = progress or Silent(), retry_for_s, open_backend
        self._open_items = open_item_backend
        self.name = worker_name()
        self.job_ids: set[str] = set()  # refreshes that it worked on
        self.stopping = threading.Event()
        self.grace_s = 30.0  # for the answers in flight when the worker stops
        self._model: tuple[str, ProfileBackend] | None = None
        self._inputs: tuple[str, _JobInputs] | None = None
        self._items: tuple[str, ItemInputs] | None = None
        self._before_look = before_look
        # Two locks make a fair queue: a waiting thread holds the first, so a long refresh cannot starve it.
        self._next_turn, self._gpu = threading.Lock(), threading.Lock()

    def __enter__(self) -> "RefreshWorker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Unload the model."""
        if self._model is not None:
            self._model[1].close()
            self._model = None

    @contextmanager
    def exclusive_gpu(self) -> Iterator[None]:
        """Give this process's GPU to another thread: during the block no chunk is worked on and no model is loaded."""
        with self._gpu_lock():
            if self.stopping.is_set():
                raise StoreError("this worker is stopping; another worker takes the step.")
            self.close()
            yield

    @contextmanager
    def _gpu_lock(self) -> Iterator[None]:
        with self._next_turn:
            self._gpu.acquire()
        try:
            yield
        finally:
            self._gpu.release()

    def work_on(self, job_id: str | None = None) -> int:
        """Work on chunks of one refresh, or of all, until none is due. Returns the number of finished chunks."""
        n_done = 0
        self._before_look()
        while not self.stopping.is_set():
            with self._gpu_lock():
                item = retry_on_db_error(
                    lambda: lease_chunk(self._engine, self.name, self._rules, job_id), self._retry_for_s
                )
                if item is None:
                    break
                self.job_ids.add(item.job_id)
                n_done += self._work_on_chunk(item)
        return n_done

    def work_forever(self, wake: threading.Event, poll_s: float) -> None:
        """Look for chunks when woken, and every poll_s, because messages get lost. Ends when `stopping` is set."""
        while not self.stopping.is_set():
            try:
                self.work_on()
            except (StoreError, DBAPIError) as error:
                _logger.warning("%s; looking again in %g s", error, poll_s)
            wake.wait(poll_s)
            wake.clear()

    def _work_on_chunk(self, item: ChunkItem) -> bool:
        """Work on one chunk. Returns whether it is done."""
        try:
            spec = retry_on_db_error(lambda: read_spec(self._engine, item.job_id), self._retry_for_s)
            if spec.new_items is not None:
                work = self._new_items_work(item, spec, spec.new_items)
            else:
                work = self._texts_work(item, spec)
        except (ServedModelError, RecipeError, RegistryError, BundleError, KnowledgeError) as error:
            # every worker would meet it: the refresh is at fault, and this worker goes on with others
            record_failure(item, error, self._retry_for_s)
            return False
        except BaseException:
            # the chunk is not at fault: another worker may be able to load the model
            settle(item.release, self._retry_for_s)
            raise
        return run_under_lease(item, work, stopping=self.stopping, retry_for_s=self._retry_for_s)

    def _texts_work(self, item: ChunkItem, spec: JobSpec) -> Work:
        """Load the model of a refresh of users or items; returns the work on one chunk."""
        backend = self._load_backend(spec.profiles if spec.knowledge is None else spec.knowledge)
        item.report.backend, item.spending = backend.model, spec.spending

        def work(heartbeat: Heartbeat) -> None:
            with span("refresh chunk", spec.trace, job=item.job_id, chunk=item.position, users=item.n_users):
                if spec.knowledge is None:
                    self._write_profiles(item, spec, backend, heartbeat)
                else:
                    self._describe_items(item, spec, spec.knowledge, backend, heartbeat)

        return work

    def _new_items_work(self, item: ChunkItem, spec: JobSpec, new: NewItems) -> Work:
        """Open the champion, and load the model if one is needed; returns the work: describe and add the items."""
        placement = open_placement(self._engine, new, spec.tenant)
        backend = self._load_backend(placement.config) if placement.needs_model else None
        final = item.lease.attempt >= self._rules.max_attempts
        store = KnowledgeStore(self._engine, spec.tenant, self._retry_for_s)
        return make_work(self._engine, placement, backend, item, spec, store, self._progress, final=final)

    def _write_profiles(self, item: ChunkItem, spec: JobSpec, backend: ProfileBackend, heartbeat: Heartbeat) -> None:
        inputs = self._inputs_of(item.job_id, spec)
        requests = inputs.snapshot.chunk(item.position)
        priors = {
            request.history.user_id: PriorProfile(request.profile, request.n_covered)
            for request in requests
            if request.profile
        }
        store = ProfileStore(self._engine, spec.tenant, self._retry_for_s)
        writer = ProfileWriter(
            spec.profiles,
            store,
            backend,
            inputs.catalogue,
            inputs.checker,
            item.report,
            self._progress,
            len(requests),
            kept=lambda _: heartbeat.check(),
            population=inputs.snapshot.population,
        )
        writer.write_chunk([request.history for request in requests], priors)
        # a further attempt generates what is missing; after the last one, single users stay without a profile
        last = item.lease.attempt >= self._rules.max_attempts
        item.report.stop_if_unanswered(spec.profiles.max_failed if last else 0.0)

    def _describe_items(
        self, item: ChunkItem, spec: JobSpec, config: KnowledgeConfig, backend: ProfileBackend, heartbeat: Heartbeat
    ) -> None:
        if self._items is None or self._items[0] != item.job_id:
            self._items = item.job_id, ItemInputs(spec.snapshot, config)
        inputs, item.report.what = self._items[1], "item text"
        writer = ItemWriter(
            config,
            KnowledgeStore(self._engine, spec.tenant, self._retry_for_s),
            backend,
            inputs.catalogue,
            inputs.names,
            item.report,
            self._progress,
            item.n_users,
            kept=lambda _: heartbeat.check(),
        )
        with own_words():
            writer.write_chunk(inputs.snapshot.chunk(item.position))
            last = item.lease.attempt >= self._rules.max_attempts
            item.report.stop_if_unanswered(config.max_failed if last else 0.0)

    def _load_backend(self, config: ProfilesConfig | KnowledgeConfig) -> ProfileBackend:
        """Return the loaded model if it is the right one. Otherwise unload it first, then load the right one."""
        key = hash_json([config.backend, config.options, config.parameters, config.sampling.max_output_tokens])
        if self._model is None or self._model[0] != key:
            self.close()
            if isinstance(config, KnowledgeConfig):
                self._model = key, self._open_items(config, self._settings)
            else:
                self._model = key, self._open(config, self._settings)
        return self._model[1]

    def _inputs_of(self, job_id: str, spec: JobSpec) -> "_JobInputs":
        if self._inputs is None or self._inputs[0] != job_id:
            self._inputs = job_id, _JobInputs(spec)
        return self._inputs[1]


class _JobInputs:
    """Snapshot, catalogue and faithfulness check that all chunks of one refresh share."""

    def __init__(self, spec: JobSpec) -> None:
        self.snapshot: Snapshot = open_snapshot(spec.snapshot)
        config = spec.profiles
        self.catalogue = open_catalogue(self.snapshot.items, config)
        self.checker = FaithfulnessChecker(self.catalogue.vocabulary)
