"""What every way of asking shares: experiment, answer, exposure, metrics, log."""

import logging
import time
from collections.abc import Callable

from retort.serving.ab_tests.assignment import Assignment, Experiment, assign, in_shadow, with_defaults
from retort.serving.ab_tests.shadow import ShadowRunner
from retort.serving.ab_tests.variants import Variants
from retort.serving.feedback.exposures import ExposureLog
from retort.serving.models.bundles import LiveBundle
from retort.serving.recommend.recommender import Admitted, Recommender
from retort.serving.runtime.metrics import Metrics
from retort.serving.schemas.impression_tokens import Impression
from retort.serving.schemas.problems import Problem
from retort.serving.schemas.requests import RecommendRequest
from retort.serving.schemas.responses import Answer, Reason, Source
from retort.shared.events.exposures import Exposure

logger = logging.getLogger(__name__)

_SOURCES = frozenset(Source)
_NO_EXPERIMENT = "none"


class Answering:
    """One request, answered, counted and told."""

    def __init__(
        self,
        recommender: Recommender,
        metrics: Metrics,
        log: ExposureLog,
        experiment: Experiment | None = None,
        variants: Variants | None = None,
        max_k: int = 500,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._recommender = recommender
        self._metrics = metrics
        self._log = log
        self._experiment = experiment
        self._variants = variants
        self._max_k = max_k
        self._clock = clock
        shadow = experiment.shadow if experiment is not None else None
        self._shadow = None if shadow is None else ShadowRunner(recommender, metrics, shadow.alias)

    async def answer(
        self,
        request: RecommendRequest,
        tenant: str,
        request_id: str,
        *,
        deadline_s: float | None = None,
        admitted: Admitted = None,
    ) -> Answer:
        """The answer; 422 for a k above this server's limit, 503 where there is nothing at all to give.

        `admitted` is awaited once the history has been read, in whose trip to Redis it was asked: 429 comes from there.
        """
        self.check_k(request.k)
        started = time.perf_counter()
        place = self._place(tenant, request.user_id, request.session_id)
        if place is not None and place.variant is not None:
            request = with_defaults(request, place.variant)
        answer = await self._by_variant(request, tenant, place, deadline_s, admitted)
        if answer.source is Source.STATIC and not answer.item_ids:
            raise Problem(503, "No bundle is loaded and no static list is set.", headers={"retry-after": "5"})
        if not request.dry_run:
            self.shown(request, tenant, request_id, answer, time.perf_counter() - started)
            self._compare(request, tenant, place, answer)
        return answer

    async def answer_over(self, live: LiveBundle, request: RecommendRequest, tenant: str, request_id: str) -> Answer:
        """The same by the bundle that the caller named: no experiment and no shadow has a say."""
        self.check_k(request.k)
        started = time.perf_counter()
        answer = await self._recommender.recommend_over(live, request, tenant)
        self.shown(request, tenant, request_id, answer, time.perf_counter() - started)
        return answer

    def shown(self, request: RecommendRequest, tenant: str, request_id: str, answer: Answer, seconds: float) -> None:
        """Count and note a list that goes to a caller."""
        self._metrics.count_answer(answer.source, answer.reason)
        if answer.reason is not None:
            logger.info(
                "degraded answer", extra={"request_id": request_id, "source": answer.source, "reason": answer.reason}
            )
        experiment = answer.experiment or {}
        name, variant = experiment.get("name"), experiment.get("variant")
        self._metrics.count_shown(
            name or _NO_EXPERIMENT, variant or _NO_EXPERIMENT, answer.source, len(answer.item_ids), seconds
        )
        model = answer.model or {}
        exposure = Exposure(
            request_id=request_id,
            tenant=tenant,
            shown_ms=int(self._clock() * 1000),
            source=answer.source,
            item_ids=tuple(answer.item_ids),
            first_rank=answer.first_rank,
            user_id=request.user_id,
            session_id=request.session_id,
            reason=answer.reason,
            model=model.get("name"),
            version=model.get("version"),
            experiment=name,
            variant=variant,
        )
        self._log.add(exposure)

    def count_event(self, tenant: str, user_id: str | None, session_id: str | None, event_type: str) -> None:
        """An event belongs to the variant that its user is in: the hash finds it again without a join."""
        if (place := self._place(tenant, user_id, session_id)) is not None:
            self._metrics.variant_events.labels(place.experiment, place.label, event_type).inc()

    def count_return(self, tenant: str, impression: Impression, event_type: str) -> None:
        """An event came back from a list that was shown. What the token names and nobody knows is no label."""
        source = impression.source if impression.source in _SOURCES else "unknown"
        experiment = self._experiment
        known = (
            experiment is not None
            and tenant == experiment.tenant
            and impression.experiment in (experiment.name, "")
            and impression.variant in experiment.labels
        )
        name, variant = (experiment.name, impression.variant) if experiment and known else (_NO_EXPERIMENT,) * 2
        self._metrics.exposed_events.labels(name, variant, source, event_type).inc()

    async def finish(self) -> None:
        """Wait for what runs beside the requests; used on the way out."""
        if self._shadow is not None:
            await self._shadow.finish()
        await self._log.finish()

    def check_k(self, k: int) -> None:
        """422 for more items than this server gives."""
        if k > self._max_k:
            raise Problem(422, f"k: this server gives at most {self._max_k} items.")

    def _place(self, tenant: str, user_id: str | None, session_id: str | None) -> Assignment | None:
        """The caller's place in the experiment; None also where the bundle cannot serve the variant."""
        if self._experiment is None:
            return None
        place = assign(self._experiment, tenant, user_id, session_id)
        if place is None or place.variant is None or self._variants is None:
            return place
        return place if self._variants.can_serve(place.variant) else None

    def _compare(self, request: RecommendRequest, tenant: str, place: Assignment | None, answer: Answer) -> None:
        if self._shadow is None or self._experiment is None:
            return
        if place is not None and place.variant is None:
            return  # the holdout's popular list is not what a challenger would replace
        unit = request.user_id or request.session_id
        if unit is not None and in_shadow(self._experiment, tenant, unit):
            self._shadow.compare(request, tenant, answer)

    async def _by_variant(
        self,
        request: RecommendRequest,
        tenant: str,
        place: Assignment | None,
        deadline_s: float | None,
        admitted: Admitted,
    ) -> Answer:
        recommender = self._recommender
        if place is None:
            return await recommender.recommend(request, tenant, deadline_s=deadline_s, admitted=admitted)
        if place.variant is None:
            answer = await recommender.popular(request, tenant, Reason.HOLDOUT, admitted=admitted)
        else:
            answer = await recommender.recommend(
                request, tenant, place.variant.alias, deadline_s=deadline_s, admitted=admitted
            )
        answer.experiment = place.document
        return answer
