"""Routes of results: the A/B test with its counts, differences and days still needed, and offline experiments."""

import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from retort.serving.ab_tests.assignment import HOLDOUT, ABTest
from retort.serving.ab_tests.counts import Counts, counts_of_metrics, read_counts
from retort.serving.ab_tests.results import Arm, compare_arms, split_p
from retort.serving.api.auth import AdminCaller
from retort.serving.api.routes.documents import problems
from retort.serving.api.services import Services
from retort.serving.runtime.database import database_exists, query_database
from retort.serving.schemas.problems import Problem
from retort.shared.model.offline_results import PublishedTable, read_tables

_DAY_S = 86_400
# The tables are read at most so often.
KEPT_S = 30.0
MAX_TABLES = 50


class VariantDocument(BaseModel):
    """Result of one variant; differences are from the first."""

    name: str
    alias: str | None = Field(description="alias that serves it; null: the server's own, or the holdout's popular list")
    share: float = Field(description="share of all users")
    users: int | None = Field(description="null where only lists are counted")
    lists: int
    clicks: int
    rate: float | None = Field(description="clicks per list")
    low: float | None = Field(description="95 % interval of the rate")
    high: float | None
    difference: float | None
    difference_low: float | None = Field(description="95 % interval of the difference")
    difference_high: float | None
    days_needed: float | None = Field(
        description="further days until a change of `effect` would be found with a power of 80 %; null: not known yet"
    )


class ShadowDocument(BaseModel):
    """A bundle that answers in the background."""

    alias: str
    share: float
    compared: int = Field(description="lists since the start of this server")
    overlap: float | None = Field(description="mean share of the shown items that the shadow also shows")


class ExperimentDocument(BaseModel):
    """An A/B test and its result."""

    name: str
    event_type: str
    effect: float
    unit: str = Field(description="users: from the database; lists: from this server's metrics, too narrow intervals")
    since: datetime | None = Field(description="first list; null: the start of this server")
    split_p: float | None = Field(description="p of the test that users are split by the shares; null: not known")
    variants: list[VariantDocument]
    shadow: ShadowDocument | None


class ExperimentsDocument(BaseModel):
    """The A/B test of this server."""

    request_id: str
    experiment: ExperimentDocument | None = Field(description="null without `RETORT_EXPERIMENT`")


class OfflineDocument(BaseModel):
    """Tables of offline experiments, newest first; those that `retort experiment publish` stored."""

    request_id: str
    experiments: list[PublishedTable]


class _ReadCounts:
    """Counts of the database by event type, read at most every `KEPT_S`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._known: dict[str, tuple[float, Counts | None]] = {}

    async def read(self, test: ABTest, event_type: str) -> Counts:
        known = self._known.get(event_type)
        if known is None or time.monotonic() > known[0]:
            if len(self._known) > 100:
                self._known.clear()
            known = (time.monotonic() + KEPT_S, await self._of_database(test, event_type))
            self._known[event_type] = known
        return known[1] or counts_of_metrics(self._services.metrics, test.name, event_type)

    async def _of_database(self, test: ABTest, event_type: str) -> Counts | None:
        database = self._services.settings.database
        if not database_exists(database):
            return None
        try:
            return await query_database(
                database, lambda engine: read_counts(engine, test.tenant, test.name, event_type)
            )
        except Problem:  # the metrics of this server answer instead
            return None


def router(services: Services) -> APIRouter:
    """Create `/experiments` and `/experiments/offline`."""
    routes = APIRouter(tags=["operations"], responses=problems(401, 403, 422, 429))
    counts = _ReadCounts(services)
    started = time.monotonic()

    @routes.get("/experiments", summary="Result of the A/B test")
    async def experiments(
        request: Request,
        caller: AdminCaller,
        event_type: Annotated[str, Query(pattern=r"^[a-z0-9_-]{1,32}$")] = "click",
        effect: Annotated[float, Query(gt=0, le=1, description="relative change that shall be found")] = 0.05,
    ) -> ExperimentsDocument:
        request_id, test = request.state.request_id, services.ab_test
        if test is None or test.tenant != caller.tenant:
            return ExperimentsDocument(request_id=request_id, experiment=None)
        found = await counts.read(test, event_type)
        days = (
            (time.monotonic() - started) / _DAY_S
            if found.since_ms is None
            else max(time.time() - found.since_ms / 1000, 0) / _DAY_S
        )
        arms = compare_arms(found.units, _shares(test), by_user=found.by_user, days=days, effect=effect)
        document = _document(services, test, found, arms, event_type, effect)
        return ExperimentsDocument(request_id=request_id, experiment=document)

    @routes.get("/experiments/offline", summary="Tables of offline experiments", responses=problems(503))
    async def offline(request: Request, caller: AdminCaller) -> OfflineDocument:
        database, tables = services.settings.database, list[PublishedTable]()
        if database_exists(database):
            tables = await query_database(database, lambda engine: read_tables(engine, caller.tenant, MAX_TABLES))
        return OfflineDocument(request_id=request.state.request_id, experiments=tables)

    return routes


def _document(
    services: Services, test: ABTest, found: Counts, arms: list[Arm], event_type: str, effect: float
) -> ExperimentDocument:
    shares, aliases = _shares(test), {variant.name: variant.alias for variant in test.variants}
    users = {arm.name: arm.users for arm in arms if arm.users is not None}
    return ExperimentDocument(
        name=test.name,
        event_type=event_type,
        effect=effect,
        unit="users" if found.by_user else "lists",
        since=None if found.since_ms is None else datetime.fromtimestamp(found.since_ms / 1000, UTC),
        split_p=split_p(users, shares) if users else None,  # the lists of one user are not independent
        variants=[VariantDocument(alias=aliases.get(arm.name), share=shares[arm.name], **asdict(arm)) for arm in arms],
        shadow=_shadow(services, test),
    )


def _shares(test: ABTest) -> dict[str, float]:
    """Share of all users of each variant, the control first, the holdout last."""
    shares = {variant.name: variant.share * (1 - test.holdout) for variant in test.variants}
    return shares | ({HOLDOUT: test.holdout} if test.holdout else {})


def _shadow(services: Services, test: ABTest) -> ShadowDocument | None:
    if test.shadow is None:
        return None
    compared = sum(value for _, value in services.metrics.samples("retort_shadow_overlap_count"))
    overlap = sum(value for _, value in services.metrics.samples("retort_shadow_overlap_sum"))
    return ShadowDocument(
        alias=test.shadow.alias,
        share=test.shadow.share,
        compared=int(compared),
        overlap=overlap / compared if compared else None,
    )
