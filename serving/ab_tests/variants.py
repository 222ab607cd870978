"""Compatibility of the variants of an A/B test with the bundles that serve them.

A variant is refused when its settings name attributes that the bundle's items do not have. The refusal is reported when
the bundle is loaded: in `/models`, in the log and in a counter. Users of a refused variant get the list of the server's
alias and are not part of the test: their requests are valid, and their events would distort the variant's numbers.
"""

from weakref import WeakKeyDictionary

import numpy as np

from retort.serving.ab_tests.assignment import ABTest, Variant
from retort.serving.models.bundles import LiveBundle
from retort.serving.models.model_slots import ModelSlots, Slot
from retort.serving.recommend.query_plan import build_query_plan
from retort.serving.runtime.metrics import Metrics
from retort.serving.schemas.problems import Problem
from retort.serving.schemas.requests import RecommendRequest

_NOTHING_SEEN = np.zeros(0, dtype=np.int64)


class VariantCompatibility:
    """Check of each variant against each bundle, made once for each pair."""

    def __init__(self, ab_test: ABTest, models: ModelSlots, metrics: Metrics) -> None:
        self._ab_test = ab_test
        self._models = models
        self._metrics = metrics
        self._results: WeakKeyDictionary[LiveBundle, dict[str, bool]] = WeakKeyDictionary()
        for variant in ab_test.variants:
            self._watch(variant, models.slot(ab_test.tenant, variant.alias))

    def can_serve(self, variant: Variant) -> bool:
        """Return whether the bundle that serves the variant now supports its settings."""
        tenant = self._ab_test.tenant
        for slot in (self._models.slot(tenant, variant.alias), self._models.slot(tenant)):
            if slot.current is not None:
                return self._check(variant, slot, slot.current)
        return True  # without a bundle the fallback ignores all settings

    def _watch(self, variant: Variant, slot: Slot) -> None:
        slot.load_hooks.append(lambda live: self._check(variant, slot, live))
        if slot.current is not None:
            self._check(variant, slot, slot.current)

    def _check(self, variant: Variant, slot: Slot, live: LiveBundle) -> bool:
        results = self._results.setdefault(live, {})
        if variant.name not in results:
            problem = _find_problem(variant, live)
            results[variant.name] = problem is None
            if problem is not None:
                where = f"experiment {self._ab_test.name}, variant {variant.name}"
                slot.refuse(where, f"the bundle {live.name}@{live.version} cannot serve it: {problem}", what="variant")
                self._metrics.variants_refused.labels(self._ab_test.name, variant.name).inc()
        return results[variant.name]


def _find_problem(variant: Variant, live: LiveBundle) -> str | None:
    request = RecommendRequest.model_validate({"history": [], **variant.defaults})
    try:
        build_query_plan(request, live.catalogue, _NOTHING_SEEN)
    except Problem as problem:
        return problem.detail
    return None
