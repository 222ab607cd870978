"""Everything an application holds while it runs, built once and handed to the routes."""

from dataclasses import dataclass

from retort.serving.ab_tests.assignment import Experiment, read_experiment
from retort.serving.ab_tests.variants import Variants
from retort.serving.api.auth import Door, read_keys
from retort.serving.api.rate_limits import Limits
from retort.serving.api.recommendation_service import Answering
from retort.serving.feedback.events import EventIntake
from retort.serving.feedback.exposures import ExposureLog
from retort.serving.models.model_slots import Models
from retort.serving.models.registry_watcher import Follower
from retort.serving.recommend.ranking import StudentRanker
from retort.serving.recommend.recommender import Recommender
from retort.serving.recommend.user_context import HistoryReader
from retort.serving.runtime.circuit_breaker import Breaker
from retort.serving.runtime.graceful_shutdown import Leaving
from retort.serving.runtime.metrics import Metrics
from retort.serving.runtime.settings import ServingSettings
from retort.serving.runtime.steady_clock import SteadyClock
from retort.serving.schemas.problems import Problem
from retort.serving.users.erasure import MemoryNotes, Notes, People, RedisNotes
from retort.shared.base.settings import Settings
from retort.shared.events.event_stream import EventWriter
from retort.shared.events.exposures import ExposureWriter
from retort.shared.history.redis_history import RedisHistory
from retort.shared.history.store import HistoryStore, MemoryHistory

_DAY_S = 86_400


@dataclass(frozen=True)
class Services:
    """The parts, wired."""

    settings: Settings
    serving: ServingSettings
    metrics: Metrics
    models: Models
    histories: HistoryStore
    reader: HistoryReader
    recommender: Recommender
    answering: Answering
    exposures: ExposureLog
    intake: EventIntake
    door: Door
    follower: Follower
    people: People
    leaving: Leaving

    def check_ready(self) -> None:
        """503 while the server leaves, or has no bundle for one of its tenants."""
        if self.leaving.under_way:
            raise Problem(503, "The server is stopping; ask another one.")
        if any(self.models.current(tenant) is None for tenant in self.serving.tenants):
            raise Problem(503, "No bundle has been loaded yet; /models says why.", headers={"retry-after": "5"})


def build_services(
    settings: Settings, serving: ServingSettings, models: Models, histories: HistoryStore | None = None
) -> Services:
    """Wire the parts; nothing is dialled yet."""
    metrics = Metrics(serving.metrics_dir)
    clock = SteadyClock(metrics.faults.clock_jumps.inc)
    histories = histories or open_histories(settings, serving)
    reader = _reader(histories, metrics, serving)
    recommender = _recommender(models, reader, metrics, serving)
    exposures = ExposureLog(_exposure_writer(histories, serving.exposures_kept), metrics)
    experiment = _experiment(serving, models)
    variants = None if experiment is None else Variants(experiment, models, metrics)
    answering = Answering(recommender, metrics, exposures, experiment, variants, serving.max_k, clock)
    return Services(
        settings=settings,
        serving=serving,
        metrics=metrics,
        models=models,
        histories=histories,
        reader=reader,
        recommender=recommender,
        answering=answering,
        exposures=exposures,
        intake=_intake(reader, answering, metrics, serving, clock),
        door=_door(reader, metrics, serving, clock),
        follower=Follower(models, metrics, settings, serving),
        people=People(histories, _notes(histories), settings.database, clock),
        leaving=Leaving(serving.leave_s),
    )


def _reader(histories: HistoryStore, metrics: Metrics, serving: ServingSettings) -> HistoryReader:
    return HistoryReader(
        histories,
        metrics,
        limit=serving.history_limit,
        timeout_s=serving.history_timeout_s,
        breaker=Breaker(serving.breaker_failures, serving.breaker_rest_s),
    )


def _recommender(models: Models, reader: HistoryReader, metrics: Metrics, serving: ServingSettings) -> Recommender:
    return Recommender(
        models,
        reader,
        StudentRanker(metrics, max_batch=serving.max_batch),
        deadline_s=serving.deadline_s,
        static_items=serving.static_items,
        observe_stage=metrics.observe_stage,
    )


def _experiment(serving: ServingSettings, models: Models) -> Experiment | None:
    """The one that the settings name; its aliases get a place, so that they are followed."""
    if serving.experiment is None:
        return None
    experiment = read_experiment(serving.experiment)
    for alias in _aliases(experiment):
        models.slot(experiment.tenant, alias)
    return experiment


def _intake(
    reader: HistoryReader, answering: Answering, metrics: Metrics, serving: ServingSettings, clock: SteadyClock
) -> EventIntake:
    stream = _stream(reader.store)
    return EventIntake(
        reader, metrics, serving.event_weights, answering.count_event, answering.count_return, stream, clock
    )


def _door(reader: HistoryReader, metrics: Metrics, serving: ServingSettings, clock: SteadyClock) -> Door:
    """Who may come in, and how often: counted by Redis over all workers where there is one."""
    limits = Limits(
        ask=reader.ask if isinstance(reader.store, RedisHistory) else None,
        by_worker=metrics.limits_by_worker,
        day_clock=clock,
    )
    return Door(read_keys(serving.keys_file) if serving.keys_file is not None else (), limits)


def _aliases(experiment: Experiment) -> set[str]:
    """The aliases that the experiment needs beside the server's own."""
    named = {variant.alias for variant in experiment.variants if variant.alias is not None}
    return named | ({experiment.shadow.alias} if experiment.shadow is not None else set())


def _stream(histories: HistoryStore) -> EventWriter | None:
    return EventWriter(histories.client) if isinstance(histories, RedisHistory) else None


def _exposure_writer(histories: HistoryStore, kept: int) -> ExposureWriter | None:
    return ExposureWriter(histories.client, kept) if kept and isinstance(histories, RedisHistory) else None


def _notes(histories: HistoryStore) -> Notes:
    return RedisNotes(histories.client) if isinstance(histories, RedisHistory) else MemoryNotes()


def open_histories(settings: Settings, serving: ServingSettings) -> HistoryStore:
    """Redis where one is named, else this process's memory."""
    ttl_s = settings.history_ttl_days * _DAY_S or None
    if settings.histories_url is None:
        return MemoryHistory(settings.history_length, ttl_s)
    return RedisHistory.from_url(
        settings.histories_url, max_events=settings.history_length, ttl_s=ttl_s, timeout_s=serving.history_timeout_s
    )
