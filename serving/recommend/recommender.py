"""The online line without HTTP: request in, labelled answer out, whatever happens on the way."""

import asyncio
import logging
import time
from collections.abc import Callable

from retort.serving.models.bundles import LiveBundle
from retort.serving.models.model_slots import Models
from retort.serving.recommend import fallback
from retort.serving.recommend.explain import explain
from retort.serving.recommend.query_plan import Plan, make_plan
from retort.serving.recommend.ranking import Question, Ranking, StudentRanker
from retort.serving.recommend.reranking import Chosen, choose
from retort.serving.recommend.user_context import Evidence, HistoryReader, gather, remembered
from retort.serving.schemas.paging import write_token
from retort.serving.schemas.problems import Problem
from retort.serving.schemas.requests import RecommendRequest
from retort.serving.schemas.responses import Answer, Reason, Source
from retort.shared.history.keys import DEFAULT_TENANT
from retort.shared.model.sequences import IntArray

logger = logging.getLogger(__name__)

# Asked together with the history, awaited before the student runs; None: no limit.
Admitted = asyncio.Future[None] | None


class Recommender:
    """Gathers what is known, lets the student rank, and goes down the fallback chain where it cannot."""

    def __init__(
        self,
        models: Models,
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
        admitted: Admitted = None,
    ) -> Answer:
        """Always an answer; its `source` and `reason` say how good it is. A request that makes no sense is a 422."""
        # An alias that has no bundle (yet) must not leave its callers without an answer.
        live = self.models.current(tenant, alias) or self.models.current(tenant)
        if live is None:
            await _let_in(admitted)
            return self._static(request)
        return await self.recommend_over(live, request, tenant, deadline_s=deadline_s, admitted=admitted)

    async def recommend_over(
        self,
        live: LiveBundle,
        request: RecommendRequest,
        tenant: str = DEFAULT_TENANT,
        *,
        deadline_s: float | None = None,
        admitted: Admitted = None,
    ) -> Answer:
        """The same over one bundle."""
        evidence = None
        try:
            async with asyncio.timeout(deadline_s or self._deadline_s):
                evidence = await gather(self.reader, request, tenant)
                await _let_in(admitted)
                return await self._personal(_Case(live, request, evidence))
        except TimeoutError:
            await _let_in(admitted)
            evidence = evidence or remembered(self.reader, request, tenant)
            return await self._without_student(_Case(live, request, evidence), Reason.DEADLINE)

    async def popular(
        self, request: RecommendRequest, tenant: str, reason: Reason, *, admitted: Admitted = None
    ) -> Answer:
        """The unpersonalised answer, for those who are to get no other; what they have seen stays hidden."""
        live = self.models.current(tenant)
        if live is None:
            await _let_in(admitted)
            return self._static(request)
        evidence = await gather(self.reader, request, tenant)
        await _let_in(admitted)
        return await self._popular(_Case(live, request, evidence), reason)

    async def _personal(self, case: "_Case") -> Answer:
        if not len(case.history):
            return await self._popular(case, _why_nothing(case.evidence))
        plan = case.plan
        waited_s = 0.0

        async def rank(depth: int) -> Ranking:
            nonlocal waited_s
            asked_s = time.perf_counter()
            ranking = await self._ranker.rank(
                Question(case.live, case.history, plan.hidden, depth, plan.bias, asked_s=asked_s)
            )
            waited_s += time.perf_counter() - asked_s
            return ranking

        try:
            chosen = await choose(rank, plan.k, plan.rules, case.live.catalogue.n_items)
        except Problem:
            raise
        except Exception:  # whatever the runtime raises, the caller gets an answer and the log the trace
            logger.exception("the student failed")
            return await self._without_student(case, Reason.STUDENT_FAILED)
        if not case.request.is_plain:
            self._observe_stage("rules", time.perf_counter() - case.begun_s - waited_s)
        if not chosen.items and case.may_drop_filter:
            return await self._nothing_passed(case)
        return case.answer(chosen, case.evidence.source, case.evidence.reason)

    async def _without_student(self, case: "_Case", reason: Reason) -> Answer:
        """Similar items where something is known, else the popular ones."""
        units = case.live.catalogue.unit_vectors
        if units is None or not len(case.history):
            return await self._popular(case, reason)
        chosen = await case.choose(
            lambda depth: fallback.similar(units, case.history, case.plan.hidden, depth, case.plan.bias)
        )
        return case.answer(chosen, Source.SIMILAR, reason)

    async def _popular(self, case: "_Case", reason: Reason) -> Answer:
        """Popular in the request's segment where it names one, else popular."""
        source, plan = Source.POPULAR, case.plan
        catalogue = case.live.catalogue
        if case.request.segment is not None:
            segment = case.with_plan(make_plan(case.request, catalogue, case.seen, segmented=True))
            chosen = await segment.choose(
                lambda depth: fallback.popular(catalogue, segment.plan.hidden, depth, segment.plan.bias)
            )
            if chosen.items:
                return segment.answer(chosen, Source.POPULAR_SEGMENT, reason)
        chosen = await case.choose(lambda depth: fallback.popular(catalogue, plan.hidden, depth, plan.bias))
        if not chosen.items and case.may_drop_filter:
            return await self._nothing_passed(case)
        return case.answer(chosen, source, reason)

    async def _nothing_passed(self, case: "_Case") -> Answer:
        """The filter left nothing: an empty list for the strict, popular items without the filter for the others."""
        reason = Reason.FILTER_MATCHES_NOTHING
        if case.request.strict_filter:
            return case.answer(Chosen([], []), Source.NONE, reason)
        open_case = case.with_plan(make_plan(case.request, case.live.catalogue, case.seen, filtered=False))
        plan = open_case.plan
        chosen = await open_case.choose(
            lambda depth: fallback.popular(case.live.catalogue, plan.hidden, depth, plan.bias)
        )
        return open_case.answer(chosen, Source.POPULAR, reason)

    def _static(self, request: RecommendRequest) -> Answer:
        """No bundle at all: the list from the settings, without what the request excludes."""
        hidden = {*request.exclude, *(request.history or ())}
        item_ids = [item_id for item_id in self._static_items if item_id not in hidden]
        if request.candidates is not None:
            item_ids = [item_id for item_id in item_ids if item_id in set(request.candidates)]
        item_ids = item_ids[: request.k]
        return Answer(item_ids, [None] * len(item_ids), Source.STATIC, Reason.NO_BUNDLE)


class _Case:
    """One request over one bundle with what is known of the caller."""

    __slots__ = ("begun_s", "evidence", "history", "live", "plan", "request", "seen")

    def __init__(
        self, live: LiveBundle, request: RecommendRequest, evidence: Evidence, plan: Plan | None = None
    ) -> None:
        self.begun_s = time.perf_counter()
        self.live = live
        self.request = request
        self.evidence = evidence
        self.history: IntArray = live.catalogue.index.indexes(evidence.item_ids)
        if evidence.seen is evidence.item_ids:
            self.seen = self.history
        else:
            self.seen = live.catalogue.index.indexes(evidence.seen)
        self.plan = plan or make_plan(request, live.catalogue, self.seen)

    @property
    def may_drop_filter(self) -> bool:
        """Where none of the pages before was the filter's own, whose list would have come to its end."""
        if self.request.filter is None:
            return False
        shown = self.live.catalogue.hash_table.items_of(self.plan.shown)
        return not self.live.catalogue.filters.mask(self.request.filter)[shown].any()

    def with_plan(self, plan: Plan) -> "_Case":
        return _Case(self.live, self.request, self.evidence, plan)

    async def choose(self, ranking: Callable[[int], Ranking]) -> Chosen:
        """The list from a ranking that needs no waiting."""

        async def rank(depth: int) -> Ranking:
            return ranking(depth)

        return await choose(rank, self.plan.k, self.plan.rules, self.live.catalogue.n_items)

    def answer(self, chosen: Chosen, source: Source, reason: Reason | None) -> Answer:
        catalogue, request = self.live.catalogue, self.request
        ids = catalogue.ids
        item_ids = [ids[item] for item in chosen.items]
        if reason is None and len(item_ids) < request.k:
            reason = Reason.NOT_ENOUGH_ITEMS
        answer = Answer(item_ids, chosen.scores, source, reason, self.live.document)
        if len(item_ids) == request.k:
            answer.next_token = write_token(self.plan.shown, item_ids)
        if request.is_plain:
            return answer
        answer.first_rank = len(self.plan.shown) + 1
        if request.fields:
            answer.fields = [catalogue.fields(item, request.fields) for item in chosen.items]
        if request.explain:
            answer.reasons = explain(catalogue, chosen.items, chosen.pinned, self.history, source, self.evidence.themes)
        return answer


async def _let_in(admitted: Admitted) -> None:
    """A deadline does not cut it short: who is over the limit gets 429, not a cheaper answer."""
    if admitted is not None:
        await asyncio.shield(admitted)


def _why_nothing(evidence: Evidence) -> Reason:
    if evidence.item_ids and evidence.reason is not Reason.HISTORY_UNAVAILABLE:
        return Reason.NO_KNOWN_ITEMS
    return evidence.reason or Reason.EMPTY_HISTORY
