"""The online line without HTTP: request in, labelled answer out, whatever happens on the way."""

import asyncio
import logging

import numpy as np

from serving import fallback
from serving.answers import Answer, Reason, Source
from serving.bundles import LiveBundle
from serving.evidence import Evidence, HistoryReader, gather
from serving.models import Models
from serving.ranking import FloatArray, Question, Ranking, StudentRanker
from serving.requests import RecommendRequest
from shared.sequences import IntArray

logger = logging.getLogger(__name__)

_NOTHING_KNOWN = Evidence((), ())


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
    ) -> None:
        self.models = models
        self.reader = reader
        self._ranker = ranker
        self._deadline_s = deadline_s
        self._static_items = static_items

    async def recommend(self, request: RecommendRequest, tenant: str) -> Answer:
        """Always an answer; its `source` and `reason` say how good it is."""
        live = self.models.current(tenant)
        if live is None:
            return self._static(request)
        evidence = _NOTHING_KNOWN
        try:
            async with asyncio.timeout(self._deadline_s):
                evidence = await gather(self.reader, request, tenant)
                return await self._personal(live, request, evidence)
        except TimeoutError:
            return self._without_student(live, request, evidence, Reason.DEADLINE)

    async def _personal(self, live: LiveBundle, request: RecommendRequest, evidence: Evidence) -> Answer:
        index = live.catalogue.index
        history = index.indexes(evidence.item_ids)
        if not len(history):
            reason = evidence.reason
            if evidence.item_ids and reason is not Reason.HISTORY_UNAVAILABLE:
                reason = Reason.NO_KNOWN_ITEMS
            return self._popular(live, request, evidence, reason or Reason.EMPTY_HISTORY)
        hidden = _hidden(live, request, evidence, history)
        try:
            ranking = await self._ranker.rank(Question(live, history, hidden, request.k))
        except Exception:  # whatever the runtime raises, the caller gets an answer and the log the trace
            logger.exception("the student failed")
            return self._without_student(live, request, evidence, Reason.STUDENT_FAILED)
        return _answer(live, ranking, request.k, evidence.source, evidence.reason)

    def _without_student(
        self, live: LiveBundle, request: RecommendRequest, evidence: Evidence, reason: Reason
    ) -> Answer:
        """Similar items where something is known, else the popular ones."""
        history = live.catalogue.index.indexes(evidence.item_ids)
        ranking = fallback.similar(live.catalogue, history, _hidden(live, request, evidence, history), request.k)
        if ranking is not None:
            return _answer(live, ranking, request.k, Source.SIMILAR, reason)
        return self._popular(live, request, evidence, reason)

    def _popular(
        self,
        live: LiveBundle,
        request: RecommendRequest,
        evidence: Evidence,
        reason: Reason,
        bias: FloatArray | None = None,
    ) -> Answer:
        history = live.catalogue.index.indexes(evidence.item_ids)
        hidden = _hidden(live, request, evidence, history)
        ranking = fallback.popular(live.catalogue, hidden, request.k, bias)
        return _answer(live, ranking, request.k, Source.POPULAR, reason)

    def _static(self, request: RecommendRequest) -> Answer:
        """No bundle at all: the list from the settings, without what the request excludes."""
        hidden = {*request.exclude, *(request.history or ())}
        item_ids = [item_id for item_id in self._static_items if item_id not in hidden][: request.k]
        return Answer(item_ids, [None] * len(item_ids), Source.STATIC, Reason.NO_BUNDLE)


def _hidden(live: LiveBundle, request: RecommendRequest, evidence: Evidence, history: IntArray) -> IntArray:
    """Indexes that must not come back: seen and excluded."""
    index = live.catalogue.index
    parts = [history if evidence.seen is evidence.item_ids else index.indexes(evidence.seen)]
    if request.exclude:
        parts.append(index.indexes(request.exclude))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _answer(live: LiveBundle, ranking: Ranking, k: int, source: Source, reason: Reason | None) -> Answer:
    items, scores = ranking
    ids = live.catalogue.ids
    return Answer(
        [ids[item] for item in items.tolist()],
        scores.tolist(),
        source,
        reason if len(items) >= k or reason is not None else Reason.NOT_ENOUGH_ITEMS,
        {"name": live.name, "version": live.version},
    )
