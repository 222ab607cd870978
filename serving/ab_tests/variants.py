"""Which variants of the experiment can be served: one that asks for what its bundle's items do not have is refused.

It is told when the bundle is taken in, in `/models`, the log and a counter. Those who would be in it get the server's
own answer and are in no experiment: they asked nothing wrong, and as a variant's users they would spoil its numbers.
"""

from weakref import WeakKeyDictionary

import numpy as np

from retort.serving.ab_tests.assignment import Experiment, Variant
from retort.serving.models.bundles import LiveBundle, Slot
from retort.serving.models.model_slots import Models
from retort.serving.recommend.query_plan import make_plan
from retort.serving.runtime.metrics import Metrics
from retort.serving.schemas.problems import Problem
from retort.serving.schemas.requests import RecommendRequest

_NOTHING_SEEN = np.zeros(0, dtype=np.int64)


class Variants:
    """Verdicts by bundle; each is reached once."""

    def __init__(self, experiment: Experiment, models: Models, metrics: Metrics) -> None:
        self._experiment = experiment
        self._models = models
        self._metrics = metrics
        self._verdicts: WeakKeyDictionary[LiveBundle, dict[str, bool]] = WeakKeyDictionary()
        for variant in experiment.variants:
            self._watch(variant, models.slot(experiment.tenant, variant.alias))

    def can_serve(self, variant: Variant) -> bool:
        """Whether the bundle that would answer for the variant now can do what it asks for."""
        tenant = self._experiment.tenant
        for slot in (self._models.slot(tenant, variant.alias), self._models.slot(tenant)):
            if slot.current is not None:
                return self._judge(variant, slot, slot.current)
        return True  # nothing is loaded; whoever answers without a bundle looks at no setting

    def _watch(self, variant: Variant, slot: Slot) -> None:
        slot.watchers.append(lambda live: self._judge(variant, slot, live))
        if slot.current is not None:
            self._judge(variant, slot, slot.current)

    def _judge(self, variant: Variant, slot: Slot, live: LiveBundle) -> bool:
        verdicts = self._verdicts.setdefault(live, {})
        if variant.name not in verdicts:
            problem = _problem(variant, live)
            verdicts[variant.name] = problem is None
            if problem is not None:
                where = f"experiment {self._experiment.name}, variant {variant.name}"
                slot.refuse(where, f"the bundle {live.name}@{live.version} cannot serve it: {problem}", what="variant")
                self._metrics.variants_refused.labels(self._experiment.name, variant.name).inc()
        return verdicts[variant.name]


def _problem(variant: Variant, live: LiveBundle) -> str | None:
    request = RecommendRequest.model_validate({"history": [], **variant.defaults})
    try:
        make_plan(request, live.catalogue, _NOTHING_SEEN)
    except Problem as problem:
        return problem.detail
    return None
