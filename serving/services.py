"""Everything an application holds while it runs, built once and handed to the routes."""

from dataclasses import dataclass
from datetime import UTC, datetime

from serving.answering import Answering
from serving.auth import Door, read_keys
from serving.breaker import Breaker
from serving.clock import SteadyClock
from serving.erasure import MemoryNotes, Notes, People, RedisNotes
from serving.events import EventIntake
from serving.evidence import HistoryReader
from serving.experiments import Experiment, read_experiment
from serving.exposures import ExposureLog
from serving.following import Follower
from serving.leaving import Leaving
from serving.limits import Limits
from serving.metrics import Metrics
from serving.models import Models
from serving.ranking import StudentRanker
from serving.recommender import Recommender
from serving.settings import ServingSettings
from shared.event_stream import EventWriter
from shared.exposures import ExposureWriter
from shared.history import HistoryStore, MemoryHistory
from shared.keys import DEFAULT_TENANT
from shared.redis_history import RedisHistory
from shared.settings import Settings

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
    started_at: datetime


def build_services(
    settings: Settings, serving: ServingSettings, models: Models, histories: HistoryStore | None = None
) -> Services:
    """Wire the parts; nothing is dialled yet."""
    metrics = Metrics(serving.metrics_dir)
    clock = SteadyClock(metrics.faults.clock_jumps.inc)
    histories = histories or open_histories(settings, serving)
    breaker = Breaker(serving.breaker_failures, serving.breaker_rest_s)
    reader = HistoryReader(
        histories, metrics, limit=serving.history_limit, timeout_s=serving.history_timeout_s, breaker=breaker
    )
    recommender = Recommender(
        models,
        reader,
        StudentRanker(metrics, max_batch=serving.max_batch),
        deadline_s=serving.deadline_s,
        static_items=serving.static_items,
        observe_stage=metrics.observe_stage,
    )
    experiment = None if serving.experiment is None else read_experiment(serving.experiment)
    for alias in _aliases(experiment):
        models.slot(experiment.tenant if experiment else DEFAULT_TENANT, alias)
    exposures = ExposureLog(_exposure_writer(histories, serving.exposures_kept), metrics)
    answering = Answering(recommender, metrics, exposures, experiment, serving.max_k, clock)
    limits = Limits(
        ask=reader.ask if isinstance(histories, RedisHistory) else None,
        by_worker=metrics.limits_by_worker,
        day_clock=clock,
    )
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
        intake=EventIntake(
            reader,
            metrics,
            serving.event_weights,
            answering.count_event,
            answering.count_return,
            _stream(histories),
            clock,
        ),
        door=Door(read_keys(serving.keys_file) if serving.keys_file is not None else (), limits),
        follower=Follower(models, metrics, settings, serving),
        people=People(histories, _notes(histories), settings.database, clock),
        leaving=Leaving(serving.leave_s),
        started_at=datetime.now(UTC),
    )


def _aliases(experiment: Experiment | None) -> set[str]:
    """The aliases that the experiment needs beside the server's own."""
    if experiment is None:
        return set()
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
    if settings.redis_url is None:
        return MemoryHistory(settings.history_length, ttl_s)
    return RedisHistory.from_url(
        settings.redis_url, max_events=settings.history_length, ttl_s=ttl_s, timeout_s=serving.history_timeout_s
    )
