"""What every way of asking shares: experiment, answer, exposure, metrics, log."""

import logging

from serving.answers import Answer, Reason, Source
from serving.experiments import Assignment, Experiment, assign, in_shadow, with_defaults
from serving.metrics import Metrics
from serving.problems import Problem
from serving.recommender import Recommender
from serving.requests import RecommendRequest
from serving.shadow import ShadowRunner

logger = logging.getLogger(__name__)


class Answering:
    """One request, answered, counted and told."""

    def __init__(
        self, recommender: Recommender, metrics: Metrics, experiment: Experiment | None = None, max_k: int = 500
    ) -> None:
        self._recommender = recommender
        self._metrics = metrics
        self._experiment = experiment
        self._max_k = max_k
        shadow = experiment.shadow if experiment is not None else None
        self._shadow = None if shadow is None else ShadowRunner(recommender, metrics, shadow.alias)

    async def answer(
        self, request: RecommendRequest, tenant: str, request_id: str, *, deadline_s: float | None = None
    ) -> Answer:
        """The answer; 422 for a k above this server's limit, 503 where there is nothing at all to give."""
        if request.k > self._max_k:
            raise Problem(422, f"k: this server gives at most {self._max_k} items.")
        place = None
        if self._experiment is not None:
            place = assign(self._experiment, tenant, request.user_id, request.session_id)
        answer = await self._by_variant(request, tenant, place, deadline_s)
        if answer.source is Source.STATIC and not answer.item_ids:
            raise Problem(503, "No bundle is loaded and no static list is set.", headers={"retry-after": "5"})
        if not request.dry_run:
            self._tell(request, tenant, request_id, answer, place)
        return answer

    def count_event(self, tenant: str, user_id: str | None, session_id: str | None, event_type: str) -> None:
        """An event belongs to the variant that its user is in: the hash finds it again without a join."""
        if self._experiment is None:
            return
        place = assign(self._experiment, tenant, user_id, session_id)
        if place is not None:
            self._metrics.variant_events.labels(place.experiment, place.label, event_type).inc()

    async def finish(self) -> None:
        if self._shadow is not None:
            await self._shadow.finish()

    async def _by_variant(
        self, request: RecommendRequest, tenant: str, place: Assignment | None, deadline_s: float | None
    ) -> Answer:
        if place is None:
            return await self._recommender.recommend(request, tenant, deadline_s=deadline_s)
        if place.variant is None:
            answer = await self._recommender.popular(request, tenant, Reason.HOLDOUT)
        else:
            varied = with_defaults(request, place.variant)
            answer = await self._recommender.recommend(varied, tenant, place.variant.alias, deadline_s=deadline_s)
        answer.experiment = place.document
        return answer

    def _tell(
        self, request: RecommendRequest, tenant: str, request_id: str, answer: Answer, place: Assignment | None
    ) -> None:
        self._metrics.count_answer(answer.source, answer.reason)
        if answer.reason is not None:
            logger.info(
                "degraded answer", extra={"request_id": request_id, "source": answer.source, "reason": answer.reason}
            )
        if place is not None:
            self._metrics.exposures.labels(place.experiment, place.label, answer.source).inc()
            exposure = {"experiment": place.experiment, "variant": place.label, "source": answer.source}
            logger.info("exposure", extra={"request_id": request_id, **exposure})
        if self._shadow is not None and self._experiment is not None:
            unit = request.user_id or request.session_id
            if unit is not None and in_shadow(self._experiment, tenant, unit):
                self._shadow.compare(request, tenant, answer)
