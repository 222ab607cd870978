"""Slots: the bundle that serves each tenant and alias, swapped by replacing one reference.

A bundle that fails a check never serves a request. The current bundle stays, and the refusal is kept for `/models`, the
metrics and the log.
"""

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from retort.serving.models.bundles import LiveBundle, load_bundle
from retort.serving.runtime.settings import ServingSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refusal:
    """A refused bundle, or a refused variant over a bundle, with the reason."""

    where: str
    reason: str
    at: datetime


@dataclass
class Slot:
    """The current bundle of one tenant and alias.

    Attributes:
        outdated: Why the last good bundle serves instead of the one that the alias names; None when that one serves.
    """

    current: LiveBundle | None = None
    outdated: str | None = None
    refusals: deque[Refusal] = field(default_factory=lambda: deque(maxlen=10))
    # Called with each bundle before its first request; their results do not stop the swap.
    load_hooks: list[Callable[[LiveBundle], object]] = field(default_factory=list)

    def swap(self, path: Path, *, threads: int = 1, latency_gate_ms: float = math.inf) -> LiveBundle:
        """Load and check a bundle, then serve it. Blocking: call it in a thread.

        Raises:
            BundleError: A check failed; the current bundle stays.
        """
        bundle = load_bundle(path, threads=threads, latency_gate_ms=latency_gate_ms)
        for hook in self.load_hooks:
            hook(bundle)
        self.current = bundle
        logger.info("bundle serves", extra={"model": bundle.name, "version": bundle.version})
        return bundle

    def refuse(self, where: str, reason: str, what: str = "bundle") -> None:
        """Record and log a refusal; a repetition of the latest one is ignored."""
        if self.refusals and self.refusals[-1].where == where and self.refusals[-1].reason == reason:
            return
        self.refusals.append(Refusal(where, reason, datetime.now(UTC)))
        logger.error("%s refused", what, extra={"where": where, "reason": reason})


class ModelSlots:
    """All slots by tenant and alias. A look-up is a dictionary access and never waits.

    Args:
        alias: Alias that is used when a caller names none.
    """

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self._slots: dict[tuple[str, str], Slot] = {}

    def slot(self, tenant: str, alias: str | None = None) -> Slot:
        """Return the slot; it is created at the first call."""
        return self._slots.setdefault((tenant, alias or self.alias), Slot())

    def current(self, tenant: str, alias: str | None = None) -> LiveBundle | None:
        """Return the bundle that serves, or None."""
        slot = self._slots.get((tenant, alias or self.alias))
        return None if slot is None else slot.current

    def all(self) -> Iterator[tuple[str, str, Slot]]:
        """Iterate over (tenant, alias, slot)."""
        for (tenant, alias), slot in list(self._slots.items()):
            yield tenant, alias, slot


def open_model_slots(serving: ServingSettings) -> ModelSlots:
    """Create the slots of all tenants; with `RETORT_BUNDLE` its bundle is loaded into each.

    Raises:
        BundleError: The bundle failed a check.
    """
    models = ModelSlots(serving.alias)
    slots = [models.slot(tenant) for tenant in serving.tenants]
    if serving.bundle is not None:
        live = slots[0].swap(Path(serving.bundle), threads=serving.threads, latency_gate_ms=serving.latency_gate_ms)
        for slot in slots[1:]:
            slot.current = live
    return models
