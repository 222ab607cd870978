"""Services of the application, built once and passed to the routes."""

from dataclasses import dataclass

from retort.serving.ab_tests.assignment import ABTest, read_ab_test
from retort.serving.ab_tests.variants import VariantCompatibility
from retort.serving.api.auth import Authenticator, read_keys
from retort.serving.api.rate_limits import RateLimiter
from retort.serving.api.recommendation_service import RecommendationService
from retort.serving.feedback.events import EventIntake
from retort.serving.feedback.exposures import ExposureBuffer
from retort.serving.models.bundles import LiveBundle
from retort.serving.models.corrections import CorrectionsWatcher
from retort.serving.models.model_slots import ModelSlots
from retort.serving.models.registry_watcher import RegistryWatcher
from retort.serving.models.version_gate import Verdicts
from retort.serving.recommend.ranking import StudentRanker
from retort.serving.recommend.recommender import Recommender
from retort.serving.recommend.user_context import HistoryReader
from retort.serving.runtime.circuit_breaker import CircuitBreaker
from retort.serving.runtime.graceful_shutdown import GracefulShutdown
from retort.serving.runtime.metrics import Metrics
from retort.serving.runtime.settings import ServingSettings
from retort.serving.runtime.steady_clock import SteadyClock
from retort.serving.schemas.problems import Problem
from retort.serving.users.erasure import ErasureStore, MemoryErasureStore, RedisErasureStore
from retort.serving.users.user_data import UserDataService
from retort.serving.users.user_sample import UserSample
from retort.shared.base.settings import Settings
from retort.shared.events.events import EventWriter
from retort.shared.events.exposures import ExposureWriter
from retort.shared.history.redis_history import RedisHistory
from retort.shared.history.store import HistoryStore, MemoryHistory

_DAY_S = 86_400


@dataclass(frozen=True)
class Services:
    """Services of one application."""

    settings: Settings
    serving: ServingSettings
    metrics: Metrics
    models: ModelSlots
    histories: HistoryStore
    reader: HistoryReader
    recommender: Recommender
    recommendations: RecommendationService
    exposures: ExposureBuffer
    event_intake: EventIntake
    authenticator: Authenticator
    registry_watcher: RegistryWatcher
    corrections: CorrectionsWatcher
    user_data: UserDataService
    user_sample: UserSample
    verdicts: Verdicts
    ab_test: ABTest | None
    shutdown: GracefulShutdown

    def live_bundle(self, tenant: str) -> LiveBundle:
        """Return the bundle that serves a tenant, or raise a `Problem` 503."""
        live = self.models.current(tenant)
        if live is None:
            raise Problem(503, "No bundle is loaded; publish one, then retry.", headers={"retry-after": "5"})
        return live

    def check_ready(self) -> None:
        """Raise a `Problem` 503 during the shutdown, or when a tenant has no bundle."""
        if self.shutdown.in_progress:
            raise Problem(503, "The server is stopping; send the request to another one.")
        if any(self.models.current(tenant) is None for tenant in self.serving.tenants):
            raise Problem(503, "No bundle is loaded yet; /models gives the reason.", headers={"retry-after": "5"})


def build_services(
    settings: Settings, serving: ServingSettings, models: ModelSlots, histories: HistoryStore | None = None
) -> Services:
    """Build the services; no connection is opened yet."""
    metrics = Metrics(serving.metrics_dir)
    clock = SteadyClock(metrics.clock_jumps.inc)
    histories = histories or open_histories(settings, serving)
    reader = _reader(histories, metrics, serving)
    recommender = _recommender(models, reader, metrics, serving)
    erasures = _erasure_store(histories)
    exposures = ExposureBuffer(_exposure_writer(histories, serving.exposures_kept), metrics)
    ab_test = _ab_test(serving, models)
    variants = None if ab_test is None else VariantCompatibility(ab_test, models, metrics)
    recommendations = RecommendationService(recommender, metrics, exposures, ab_test, variants, serving.max_k, clock)
    return Services(
        settings=settings,
        serving=serving,
        metrics=metrics,
        models=models,
        histories=histories,
        reader=reader,
        recommender=recommender,
        recommendations=recommendations,
        exposures=exposures,
        event_intake=_event_intake(reader, recommendations, metrics, serving, clock, erasures),
        authenticator=_authenticator(reader, metrics, serving, clock),
        registry_watcher=RegistryWatcher(models, metrics, settings, serving),
        corrections=CorrectionsWatcher(models, settings.database, serving.follow_every_s),
        user_data=UserDataService(histories, erasures, settings.database, clock),
        user_sample=UserSample(histories),
        verdicts=Verdicts(),
        ab_test=ab_test,
        shutdown=GracefulShutdown(serving.leave_s),
    )


def _reader(histories: HistoryStore, metrics: Metrics, serving: ServingSettings) -> HistoryReader:
    return HistoryReader(
        histories,
        metrics,
        limit=serving.history_limit,
        timeout_s=serving.history_timeout_s,
        new_breaker=lambda: CircuitBreaker(serving.breaker_failures, serving.breaker_rest_s),
    )


def _recommender(models: ModelSlots, reader: HistoryReader, metrics: Metrics, serving: ServingSettings) -> Recommender:
    return Recommender(
        models,
        reader,
        StudentRanker(metrics, max_batch=serving.max_batch),
        deadline_s=serving.deadline_s,
        static_items=serving.static_items,
        observe_stage=metrics.observe_stage,
    )


def _ab_test(serving: ServingSettings, models: ModelSlots) -> ABTest | None:
    """Read the A/B test and create slots for its aliases, so that the registry watcher loads them."""
    if serving.experiment is None:
        return None
    ab_test = read_ab_test(serving.experiment)
    for alias in _aliases(ab_test):
        models.slot(ab_test.tenant, alias)
    return ab_test


def _event_intake(
    reader: HistoryReader,
    recommendations: RecommendationService,
    metrics: Metrics,
    serving: ServingSettings,
    clock: SteadyClock,
    erasures: ErasureStore,
) -> EventIntake:
    return EventIntake(
        reader,
        metrics,
        serving.event_weights,
        recommendations.count_event,
        recommendations.count_attributed_event,
        _stream(reader.store),
        clock,
        erasures.read,
    )


def _authenticator(
    reader: HistoryReader, metrics: Metrics, serving: ServingSettings, clock: SteadyClock
) -> Authenticator:
    """Build the authenticator; with Redis the limits hold over all workers."""
    limiter = RateLimiter(
        run_command=reader.run_command if isinstance(reader.store, RedisHistory) else None,
        local_counter=metrics.local_limits,
        day_clock=clock,
    )
    return Authenticator(read_keys(serving.keys_file) if serving.keys_file is not None else (), limiter)


def _aliases(ab_test: ABTest) -> set[str]:
    """Return the aliases that the A/B test requires besides the server's."""
    aliases = {variant.alias for variant in ab_test.variants if variant.alias is not None}
    return aliases | ({ab_test.shadow.alias} if ab_test.shadow is not None else set())


def _stream(histories: HistoryStore) -> EventWriter | None:
    return EventWriter(histories.client, histories.run) if isinstance(histories, RedisHistory) else None


def _exposure_writer(histories: HistoryStore, kept: int) -> ExposureWriter | None:
    return ExposureWriter(histories.client, kept) if kept and isinstance(histories, RedisHistory) else None


def _erasure_store(histories: HistoryStore) -> ErasureStore:
    return RedisErasureStore(histories.client) if isinstance(histories, RedisHistory) else MemoryErasureStore()


def open_histories(settings: Settings, serving: ServingSettings) -> HistoryStore:
    """Open the history store: Redis if it is configured, otherwise the memory of this process."""
    ttl_s = settings.history_ttl_days * _DAY_S or None
    if settings.histories_url is None:
        return MemoryHistory(settings.history_length, ttl_s)
    return RedisHistory.from_url(
        settings.histories_url,
        max_events=settings.history_length,
        ttl_s=ttl_s,
        # Reads have their own timeout, in running time; after a standstill the client's must not come before it.
        timeout_s=2 * serving.history_timeout_s,
    )
