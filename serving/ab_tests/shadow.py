"""Shadow mode: a challenger answers requests in the background; its lists are compared, never returned."""

import asyncio
import logging

from retort.serving.recommend.recommender import Recommender
from retort.serving.runtime.metrics import Metrics
from retort.serving.schemas.requests import RecommendRequest
from retort.serving.schemas.responses import Recommendation

logger = logging.getLogger(__name__)

# Further comparisons are skipped, so that the shadow never slows down the served requests.
MAX_RUNNING = 8


class ShadowRunner:
    """Runner of the same requests over another alias."""

    def __init__(self, recommender: Recommender, metrics: Metrics, alias: str) -> None:
        self._recommender = recommender
        self._metrics = metrics
        self._alias = alias
        self._running: set[asyncio.Task[None]] = set()

    def compare(self, request: RecommendRequest, tenant: str, shown: Recommendation) -> None:
        """Start a comparison with the list that was shown, or count that it was skipped."""
        if len(self._running) >= MAX_RUNNING:
            self._metrics.shadows.labels("skipped").inc()
            return
        task = asyncio.get_running_loop().create_task(self._compare(request, tenant, shown))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _compare(self, request: RecommendRequest, tenant: str, shown: Recommendation) -> None:
        live = self._recommender.models.current(tenant, self._alias)
        if live is None:
            self._metrics.shadows.labels("no_bundle").inc()
            return
        try:
            shadow = await self._recommender.recommend_with_bundle(live, request, tenant)
        except Exception:  # a failure of the shadow is a result of the comparison, not an outage
            logger.exception("the shadow failed")
            self._metrics.shadows.labels("failed").inc()
            return
        if shadow.source != shown.source:
            self._metrics.shadows.labels("other_source").inc()
        elif shadow.item_ids == shown.item_ids:
            self._metrics.shadows.labels("same").inc()
        else:
            self._metrics.shadows.labels("differs").inc()
        common = set(shadow.item_ids) & set(shown.item_ids)
        self._metrics.shadow_overlap.observe(len(common) / max(1, len(shown.item_ids)))

    async def finish(self) -> None:
        """Wait for the running comparisons; used at shutdown."""
        if self._running:
            await asyncio.wait(self._running)
