"""Which bundle answers for whom: one slot for each tenant and alias."""

from collections.abc import Iterator
from pathlib import Path

from retort.serving.models.bundles import LiveBundle, Slot
from retort.serving.runtime.settings import ServingSettings


class Models:
    """All slots. Reading one is a dictionary look-up; nothing here waits."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self._slots: dict[tuple[str, str], Slot] = {}

    def slot(self, tenant: str, alias: str | None = None) -> Slot:
        """The slot, made on first sight."""
        return self._slots.setdefault((tenant, alias or self.alias), Slot())

    def current(self, tenant: str, alias: str | None = None) -> LiveBundle | None:
        """The bundle that answers now, or None."""
        slot = self._slots.get((tenant, alias or self.alias))
        return None if slot is None else slot.current

    def all(self) -> Iterator[tuple[str, str, Slot]]:
        """(tenant, alias, slot) of all."""
        for (tenant, alias), slot in list(self._slots.items()):
            yield tenant, alias, slot


def open_models(serving: ServingSettings) -> Models:
    """The slots; with `RETORT_BUNDLE` its bundle is loaded for every tenant, or `BundleError` says why not."""
    models = Models(serving.alias)
    slots = [models.slot(tenant) for tenant in serving.tenants]
    if serving.bundle is not None:
        live = slots[0].swap(Path(serving.bundle), threads=serving.threads, latency_gate_ms=serving.latency_gate_ms)
        for slot in slots[1:]:
            slot.current = live
    return models
