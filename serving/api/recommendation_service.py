"""Recommendation service: A/B test, recommendation, exposure, metrics and log of a request, for all routes."""

import logging
import time
from collections.abc import Callable

from retort.serving.ab_tests.assignment import ABTest, Assignment, apply_variant, assign, in_shadow
from retort.serving.ab_tests.shadow import ShadowRunner
from retort.serving.ab_tests.variants import VariantCompatibility
from retort.serving.feedback.exposures import ExposureBuffer
from retort.serving.models.bundles import LiveBundle
from retort.serving.recommend.recommender import LimitCheck, Recommender
from retort.serving.runtime.metrics import Metrics
from retort.serving.schemas.problems import Problem
from retort.serving.schemas.requests import RecommendRequest
from retort.serving.schemas.responses import Reason, Recommendation, Source
from retort.serving.schemas.tokens import Impression
from retort.shared.events.exposures import Exposure

logger = logging.getLogger(__name__)

_SOURCES = frozenset(Source)
_NO_TEST = "none"


class RecommendationService:
    """Recommends, and records each list that is shown.

    Args:
        max_k: Largest number of items of one list.
        clock: Time of day in seconds since 1970.
    """

    def __init__(
        self,
        recommender: Recommender,
        metrics: Metrics,
        exposures: ExposureBuffer,
        ab_test: ABTest | None = None,
        variants: VariantCompatibility | None = None,
        max_k: int = 500,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._recommender = recommender
        self._metrics = metrics
        self._exposures = exposures
        self._ab_test = ab_test
        self._variants = variants
        self._max_k = max_k
        self._clock = clock
        shadow = ab_test.shadow if ab_test is not None else None
        self._shadow = None if shadow is None else ShadowRunner(recommender, metrics, shadow.alias)

    async def recommend(
        self,
        request: RecommendRequest,
        tenant: str,
        request_id: str,
        *,
        deadline_s: float | None = None,
        limit_check: LimitCheck = None,
    ) -> Recommendation:
        """Recommend with the bundle of the caller's variant and record the list.

        Args:
            limit_check: Rate-limit check in the same round trip to Redis as the history; awaited after its read.

        Raises:
            Problem: 422 for an invalid request, 429 from `limit_check`, 503 when there is nothing to return.
        """
        self.check_k(request.k)
        started = time.perf_counter()
        assignment = self._assign(tenant, request.user_id, request.session_id)
        if assignment is not None and assignment.variant is not None:
            request = apply_variant(request, assignment.variant)
        result = await self._recommend_variant(request, tenant, assignment, deadline_s, limit_check)
        if result.source is Source.STATIC and not result.item_ids:
            raise Problem(
                503,
                "No bundle is loaded and RETORT_STATIC_ITEMS is empty; publish a bundle.",
                headers={"retry-after": "5"},
            )
        self.record_shown(request, tenant, request_id, result, time.perf_counter() - started)
        if not request.dry_run:
            self._compare_with_shadow(request, tenant, assignment, result)
        return result

    async def recommend_with_bundle(
        self, live: LiveBundle, request: RecommendRequest, tenant: str, request_id: str
    ) -> Recommendation:
        """Recommend with the given bundle, outside any A/B test or shadow, and record the list unless it is dry."""
        self.check_k(request.k)
        started = time.perf_counter()
        result = await self._recommender.recommend_with_bundle(live, request, tenant)
        self.record_shown(request, tenant, request_id, result, time.perf_counter() - started)
        return result

    def record_shown(
        self, request: RecommendRequest, tenant: str, request_id: str, result: Recommendation, seconds: float
    ) -> None:
        """Count a list that is returned to a caller, and buffer its exposure; nothing for a dry run."""
        if request.dry_run:
            return
        self._metrics.count_answer(result.source, result.reason)
        if result.reason is not None:
            logger.info(
                "degraded answer", extra={"request_id": request_id, "source": result.source, "reason": result.reason}
            )
        test = result.experiment or {}
        name, variant = test.get("name"), test.get("variant")
        self._metrics.count_shown(name or _NO_TEST, variant or _NO_TEST, result.source, len(result.item_ids), seconds)
        model = result.model or {}
        exposure = Exposure(
            request_id=request_id,
            tenant=tenant,
            shown_ms=int(self._clock() * 1000),
            source=result.source,
            item_ids=tuple(result.item_ids),
            first_rank=result.first_rank,
            user_id=request.user_id,
            session_id=request.session_id,
            reason=result.reason,
            model=model.get("name"),
            version=model.get("version"),
            experiment=name,
            variant=variant,
        )
        self._exposures.add(exposure)

    def count_event(self, tenant: str, user_id: str | None, session_id: str | None, event_type: str) -> None:
        """Count an event for its user's variant, which the hash yields without a join."""
        if (assignment := self._assign(tenant, user_id, session_id)) is not None:
            self._metrics.variant_events.labels(assignment.ab_test, assignment.label, event_type).inc()

    def count_attributed_event(self, tenant: str, impression: Impression, event_type: str) -> None:
        """Count an event of an exposure; unknown names in the token do not become labels."""
        source = impression.source if impression.source in _SOURCES else "unknown"
        test = self._ab_test
        is_known = (
            test is not None
            and tenant == test.tenant
            and impression.experiment in (test.name, "")
            and impression.variant in test.labels
        )
        name, variant = (test.name, impression.variant) if test and is_known else (_NO_TEST,) * 2
        self._metrics.exposed_events.labels(name, variant, source, event_type).inc()

    async def finish(self) -> None:
        """Wait for the background work; used at shutdown."""
        if self._shadow is not None:
            await self._shadow.finish()
        await self._exposures.finish()

    def check_k(self, k: int) -> None:
        """Raise a `Problem` 422 when `k` is above the server's limit."""
        if k > self._max_k:
            raise Problem(422, f"k: this server returns at most {self._max_k} items.")

    def _assign(self, tenant: str, user_id: str | None, session_id: str | None) -> Assignment | None:
        """Return the caller's assignment; None also when the bundle cannot serve the variant."""
        if self._ab_test is None:
            return None
        assignment = assign(self._ab_test, tenant, user_id, session_id)
        if assignment is None or assignment.variant is None or self._variants is None:
            return assignment
        return assignment if self._variants.can_serve(assignment.variant) else None

    def _compare_with_shadow(
        self, request: RecommendRequest, tenant: str, assignment: Assignment | None, result: Recommendation
    ) -> None:
        if self._shadow is None or self._ab_test is None:
            return
        if assignment is not None and assignment.variant is None:
            return  # a challenger would not replace the popular list of the holdout
        unit = request.user_id or request.session_id
        if unit is not None and in_shadow(self._ab_test, tenant, unit):
            self._shadow.compare(request, tenant, result)

    async def _recommend_variant(
        self,
        request: RecommendRequest,
        tenant: str,
        assignment: Assignment | None,
        deadline_s: float | None,
        limit_check: LimitCheck,
    ) -> Recommendation:
        recommender = self._recommender
        if assignment is None:
            return await recommender.recommend(request, tenant, deadline_s=deadline_s, limit_check=limit_check)
        if assignment.variant is None:
            result = await recommender.popular(request, tenant, Reason.HOLDOUT, limit_check=limit_check)
        else:
            result = await recommender.recommend(
                request, tenant, assignment.variant.alias, deadline_s=deadline_s, limit_check=limit_check
            )
        result.experiment = assignment.document
        return result
