"""Recommender without HTTP: it turns a request into a labelled list and follows the fallback chain on failures."""

import asyncio
import logging
import time
from collections.abc import Callable

import numpy as np

from retort.serving.models.bundles import LiveBundle
from retort.serving.models.model_slots import ModelSlots
from retort.serving.recommend import fallback
from retort.serving.recommend.explain import explain
from retort.serving.recommend.query_plan import QueryPlan, build_query_plan
from retort.serving.recommend.ranking import Ranking, RankingRequest, StudentRanker
from retort.serving.recommend.reranking import RankedList, rerank
from retort.serving.recommend.user_context import HistoryReader, UserContext, cached_user_context, read_user_context
from retort.serving.schemas.problems import Problem
from retort.serving.schemas.requests import RecommendRequest
from retort.serving.schemas.responses import Reason, Recommendation, Source
from retort.serving.schemas.tokens import write_next_token
from retort.shared.history.keys import DEFAULT_TENANT
from retort.shared.model.sequences import IntArray

logger = logging.getLogger(__name__)

_NOTHING: IntArray = np.zeros(0, dtype=np.int64)

# Rate-limit check that runs together with the read of the history and is awaited before the student; None: no limit.
LimitCheck = asyncio.Future[None] | None


class Recommender:
    """Reads the user context, ranks with the student, and falls back when the student cannot rank.

    Args:
        deadline_s: Time after which a request falls back to popularity.
        static_items: Items that are returned without a bundle.
        observe_stage: Receives the name and the seconds of a stage.
    """

    def __init__(
        self,
        models: ModelSlots,
        reader: HistoryReader,
        ranker: StudentRanker,
        *,
        deadline_s: float,
        static_items: tuple[str, ...] = (),
        observe_stage: Callable[[str, float], None] = lambda stage, seconds: None,
    ) -> None:
        self.models = models
        self.reader = reader
        self._ranker = ranker
        self._deadline_s = deadline_s
        self._static_items = static_items
        self._observe_stage = observe_stage

    async def recommend(
        self,
        request: RecommendRequest,
        tenant: str,
        alias: str | None = None,
        *,
        deadline_s: float | None = None,
        limit_check: LimitCheck = None,
    ) -> Recommendation:
        """Recommend with the bundle of an alias; the result's `source` and `reason` tell where it comes from.

        Args:
            alias: An alias without a bundle is replaced by the server's.
            limit_check: Awaited before the student runs.

        Raises:
            Problem: 422 for an invalid request, 429 from `limit_check`.
        """
        live = self.models.current(tenant, alias) or self.models.current(tenant)
        if live is None:
            await _await_limit_check(limit_check)
            return self._static_list(request)
        return await self.recommend_with_bundle(live, request, tenant, deadline_s=deadline_s, limit_check=limit_check)

    async def recommend_with_bundle(
        self,
        live: LiveBundle,
        request: RecommendRequest,
        tenant: str = DEFAULT_TENANT,
        *,
        deadline_s: float | None = None,
        limit_check: LimitCheck = None,
    ) -> Recommendation:
        """Recommend with the given bundle; see `recommend`."""
        context = None
        try:
            async with asyncio.timeout(deadline_s or self._deadline_s):
                context = await read_user_context(self.reader, request, tenant)
                await _await_limit_check(limit_check)
                return await self._personal(_Query(live, request, context))
        except TimeoutError:
            await _await_limit_check(limit_check)
            context = context or cached_user_context(self.reader, request, tenant)
            return await self._without_student(_Query(live, request, context), Reason.DEADLINE)

    async def popular(
        self, request: RecommendRequest, tenant: str, reason: Reason, *, limit_check: LimitCheck = None
    ) -> Recommendation:
        """Recommend popular items without personalisation; items that the caller has seen are hidden."""
        live = self.models.current(tenant)
        if live is None:
            await _await_limit_check(limit_check)
            return self._static_list(request)
        context = await read_user_context(self.reader, request, tenant)
        await _await_limit_check(limit_check)
        return await self._popular(_Query(live, request, context), reason)

    async def _personal(self, query: "_Query") -> Recommendation:
        if not len(query.history):
            return await self._popular(query, _empty_history_reason(query.context))
        plan = query.plan
        ranking_s = 0.0

        async def rank(depth: int) -> Ranking:
            nonlocal ranking_s
            queued_at_s = time.perf_counter()
            ranking = await self._ranker.rank(
                RankingRequest(query.live, query.history, plan.hidden, depth, plan.bias, queued_at_s=queued_at_s)
            )
            ranking_s += time.perf_counter() - queued_at_s
            return ranking

        try:
            ranked = await rerank(rank, plan.k, plan.reranking, query.live.catalogue.n_items)
        except Problem:
            raise
        except Exception:  # whatever the runtime raises, the caller gets a list and the log gets the traceback
            logger.exception("the student failed")
            return await self._without_student(query, Reason.STUDENT_FAILED)
        if not query.request.is_plain:
            self._observe_stage("rules", time.perf_counter() - query.started_s - ranking_s)
        if not ranked.items and query.may_drop_filter:
            return await self._nothing_passed_filter(query)
        return query.build_recommendation(ranked, query.context.source, query.context.reason)

    async def _without_student(self, query: "_Query", reason: Reason) -> Recommendation:
        """Recommend items similar to the history, or popular items without a history."""
        units = query.live.catalogue.unit_vectors
        if units is None or not len(query.history):
            return await self._popular(query, reason)
        ranked = await query.rerank(
            lambda depth: fallback.similar(units, query.history, query.plan.hidden, depth, query.plan.bias)
        )
        return query.build_recommendation(ranked, Source.SIMILAR, reason)

    async def _popular(self, query: "_Query", reason: Reason) -> Recommendation:
        """Recommend the popular items of the request's segment, or of the whole catalogue."""
        catalogue, plan = query.live.catalogue, query.plan
        if query.request.segment is not None:
            segment = query.with_plan(build_query_plan(query.request, catalogue, query.seen, apply_segment=True))
            ranked = await segment.rerank(
                lambda depth: fallback.popular(catalogue, segment.plan.hidden, depth, segment.plan.bias)
            )
            if ranked.items:
                return segment.build_recommendation(ranked, Source.POPULAR_SEGMENT, reason)
        ranked = await query.rerank(lambda depth: fallback.popular(catalogue, plan.hidden, depth, plan.bias))
        if not ranked.items and query.may_drop_filter:
            return await self._nothing_passed_filter(query)
        return query.build_recommendation(ranked, Source.POPULAR, reason)

    async def _nothing_passed_filter(self, query: "_Query") -> Recommendation:
        """Return an empty list for a strict filter, otherwise popular items without the filter."""
        reason, catalogue = Reason.FILTER_MATCHES_NOTHING, query.live.catalogue
        if query.request.strict_filter:
            return query.build_recommendation(RankedList([], []), Source.NONE, reason)
        unfiltered = query.with_plan(build_query_plan(query.request, catalogue, query.seen, apply_filter=False))
        plan = unfiltered.plan
        ranked = await unfiltered.rerank(lambda depth: fallback.popular(catalogue, plan.hidden, depth, plan.bias))
        return unfiltered.build_recommendation(ranked, Source.POPULAR, reason)

    def _static_list(self, request: RecommendRequest) -> Recommendation:
        """Return the list of the settings without the excluded items; used when no bundle is loaded."""
        hidden = {*request.exclude, *(request.history or ())}
        item_ids = [item_id for item_id in self._static_items if item_id not in hidden]
        if request.candidates is not None:
            item_ids = [item_id for item_id in item_ids if item_id in set(request.candidates)]
        item_ids = item_ids[: request.k]
        return Recommendation(item_ids, [None] * len(item_ids), Source.STATIC, Reason.NO_BUNDLE)


class _Query:
    """One request over one bundle, with its user context and its plan."""

    __slots__ = ("context", "history", "live", "plan", "request", "seen", "started_s")

    def __init__(
        self, live: LiveBundle, request: RecommendRequest, context: UserContext, plan: QueryPlan | None = None
    ) -> None:
        self.started_s = time.perf_counter()
        self.live = live
        self.request = request
        self.context = context
        self.history: IntArray = live.catalogue.history_indexes(context.item_ids)
        if not live.bundle.hides_seen:
            self.seen = _NOTHING
        elif context.seen is context.item_ids:
            self.seen = self.history
        else:
            self.seen = live.catalogue.history_indexes(context.seen)
        self.plan = plan or build_query_plan(request, live.catalogue, self.seen)

    @property
    def may_drop_filter(self) -> bool:
        """True unless a previous page showed items that pass the filter; then the list has simply ended."""
        if self.request.filter is None:
            return False
        shown = self.live.catalogue.hash_table.items_of(self.plan.shown)
        return not self.live.catalogue.filters.mask(self.request.filter)[shown].any()

    def with_plan(self, plan: QueryPlan) -> "_Query":
        return _Query(self.live, self.request, self.context, plan)

    async def rerank(self, ranking: Callable[[int], Ranking]) -> RankedList:
        """Re-rank a ranking that is computed without waiting."""

        async def rank(depth: int) -> Ranking:
            return ranking(depth)

        return await rerank(rank, self.plan.k, self.plan.reranking, self.live.catalogue.n_items)

    def build_recommendation(self, ranked: RankedList, source: Source, reason: Reason | None) -> Recommendation:
        catalogue, request = self.live.catalogue, self.request
        item_ids = [catalogue.ids[item] for item in ranked.items]
        if reason is None and len(item_ids) < request.k:
            reason = Reason.NOT_ENOUGH_ITEMS
        result = Recommendation(item_ids, ranked.scores, source, reason, self.live.document)
        if len(item_ids) == request.k:
            result.next_token = write_next_token(self.plan.shown, item_ids)
        if request.is_plain:
            return result
        result.first_rank = len(self.plan.shown) + 1
        if request.fields:
            result.fields = [catalogue.fields(item, request.fields) for item in ranked.items]
        if request.explain:
            result.reasons = explain(catalogue, ranked.items, ranked.pinned, self.history, source, self.context.themes)
        return result


async def _await_limit_check(limit_check: LimitCheck) -> None:
    """Await the check without the deadline: a caller over its limit gets 429, not a cheaper list."""
    if limit_check is not None:
        await asyncio.shield(limit_check)


def _empty_history_reason(context: UserContext) -> Reason:
    if context.item_ids and context.reason is not Reason.HISTORY_UNAVAILABLE:
        return Reason.NO_KNOWN_ITEMS
    return context.reason or Reason.EMPTY_HISTORY
