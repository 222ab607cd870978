"""Shadow mode: a challenger answers in the background, nobody sees it, the differences are counted."""

import asyncio
import logging

from retort.serving.recommend.recommender import Recommender
from retort.serving.runtime.metrics import Metrics
from retort.serving.schemas.requests import RecommendRequest
from retort.serving.schemas.responses import Answer

logger = logging.getLogger(__name__)

# More than this at once and the shadow is skipped: it may never slow down those who are answered.
MAX_RUNNING = 8


class ShadowRunner:
    """Runs the same requests over another alias."""

    def __init__(self, recommender: Recommender, metrics: Metrics, alias: str) -> None:
        self._recommender = recommender
        self._metrics = metrics
        self._alias = alias
        self._running: set[asyncio.Task[None]] = set()

    def compare(self, request: RecommendRequest, tenant: str, shown: Answer) -> None:
        """Begin a comparison, or count that there was no room for it."""
        if len(self._running) >= MAX_RUNNING:
            self._metrics.shadows.labels("skipped").inc()
            return
        task = asyncio.get_running_loop().create_task(self._compare(request, tenant, shown))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _compare(self, request: RecommendRequest, tenant: str, shown: Answer) -> None:
        live = self._recommender.models.current(tenant, self._alias)
        if live is None:
            self._metrics.shadows.labels("no_bundle").inc()
            return
        try:
            other = await self._recommender.recommend_over(live, request, tenant)
        except Exception:  # a shadow that fails is a finding, not an outage
            logger.exception("the shadow failed")
            self._metrics.shadows.labels("failed").inc()
            return
        if other.source != shown.source:
            self._metrics.shadows.labels("other_source").inc()
        elif other.item_ids == shown.item_ids:
            self._metrics.shadows.labels("same").inc()
        else:
            self._metrics.shadows.labels("differs").inc()
        together = set(other.item_ids) & set(shown.item_ids)
        self._metrics.shadow_overlap.observe(len(together) / max(1, len(shown.item_ids)))

    async def finish(self) -> None:
        """Wait for what runs; used on the way out."""
        if self._running:
            await asyncio.wait(self._running)
