"""Follows the registry's aliases in the background; no request ever waits for the database.

A new bundle is fetched, loaded aside and checked before it answers. When the database is away the bundle that serves
goes on serving, and a server that starts meanwhile takes the last bundle that it knows to be good.
"""

import asyncio
import logging
import os
import socket
import time

import orjson
from sqlalchemy import Engine

from retort.serving.models.bundle_cache import Target, fetch, prune
from retort.serving.models.bundles import Slot
from retort.serving.models.model_slots import Models
from retort.serving.runtime.database import database_exists
from retort.serving.runtime.metrics import Metrics
from retort.serving.runtime.settings import ServingSettings
from retort.shared.base.errors import RetortError, StoreError
from retort.shared.base.settings import Settings
from retort.shared.db.session import open_database
from retort.shared.model import registry

logger = logging.getLogger(__name__)

RETRY_REFUSED_S = 60.0


class Follower:
    """Polls the aliases and swaps slots. Blocking work runs in a thread."""

    def __init__(self, models: Models, metrics: Metrics, settings: Settings, serving: ServingSettings) -> None:
        self._models = models
        self._metrics = metrics
        self._settings = settings
        self._serving = serving
        self._engine: Engine | None = None
        # What was refused, and from when on it may be tried again: a copy may have been cut short.
        self._refused: dict[tuple[str, str], tuple[str, float]] = {}
        self._memory = settings.retort_home / "serving"
        self._copies = self._memory / "bundles"
        # What is wrong with following an alias now, told once each.
        self.problems: dict[tuple[str, str], str] = {}

    def followed(self) -> list[tuple[str, str, Slot]]:
        """What is followed: with RETORT_BUNDLE only the aliases that an experiment or a shadow names besides."""
        fixed = self._serving.bundle is not None
        return [one for one in self._models.all() if not (fixed and one[1] == self._models.alias)]

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            for tenant, alias, slot in self.followed():
                try:
                    await asyncio.to_thread(self.follow, tenant, alias, slot)
                except Exception:  # a follower that died would leave the server on one bundle for ever
                    logger.exception("following failed")
                    self._metrics.swaps.labels(tenant, alias, "failed").inc()
            await asyncio.sleep(self._serving.follow_every_s)

    def follow(self, tenant: str, alias: str, slot: Slot) -> None:
        """One look at one alias; whatever goes wrong is told and leaves what serves as it is."""
        try:
            target = self._resolve(tenant, alias)
            self.problems.pop((tenant, alias), None)
        except registry.RegistryError as error:
            self._tell(tenant, alias, str(error))
            return
        except RetortError as error:
            self._metrics.faults.registry_failures.inc()
            self._tell(tenant, alias, str(error))
            if slot.current is None:
                self._start_from_memory(tenant, alias, slot)
            return
        self._take(tenant, alias, slot, target)

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()

    def _resolve(self, tenant: str, alias: str) -> Target:
        if not database_exists(self._settings.database):
            raise StoreError(f"there is no database yet at {self._settings.retort_home}; publish a bundle first.")
        if self._engine is None:
            self._engine = open_database(self._settings.database)
        published = registry.resolve(self._engine, alias, tenant=tenant)
        return Target(published.bundle_id, published.uri)

    def _take(self, tenant: str, alias: str, slot: Slot, target: Target) -> None:
        """Swap to the target unless it serves already or was refused before."""
        serves = slot.current is not None and slot.current.version == target.bundle_id
        refused, again_at_s = self._refused.get((tenant, alias), ("", 0.0))
        if serves or (refused == target.bundle_id and time.monotonic() < again_at_s):
            return
        before = slot.current
        try:
            path = fetch(target, self._copies)
            live = slot.swap(path, threads=self._serving.threads, latency_gate_ms=self._serving.latency_gate_ms)
        except RetortError as error:
            slot.refuse(target.uri, str(error))
            self._refused[tenant, alias] = (target.bundle_id, time.monotonic() + RETRY_REFUSED_S)
            self._metrics.swaps.labels(tenant, alias, "refused").inc()
            return
        self._refused.pop((tenant, alias), None)
        if before is not None:
            self._metrics.model.labels(tenant, alias, before.name, before.version).set(0)
        self._metrics.model.labels(tenant, alias, live.name, live.version).set(1)
        self._metrics.swaps.labels(tenant, alias, "taken").inc()
        self._remember(tenant, alias, target)
        prune(self._copies, self._named())

    def _remember(self, tenant: str, alias: str, target: Target) -> None:
        self._memory.mkdir(parents=True, exist_ok=True)
        note = self._memory / f"{tenant}.{alias}.json"
        # servers that share RETORT_HOME write it at the same moment
        fresh = note.with_suffix(f".{socket.gethostname()}-{os.getpid()}.new")
        fresh.write_bytes(orjson.dumps({"bundle_id": target.bundle_id, "uri": target.uri}))
        fresh.replace(note)

    def _named(self) -> set[str]:
        """The bundles that an alias of any server of this RETORT_HOME named last."""
        return {orjson.loads(note.read_bytes())["bundle_id"] for note in self._memory.glob("*.json")}

    def _start_from_memory(self, tenant: str, alias: str, slot: Slot) -> None:
        note = self._memory / f"{tenant}.{alias}.json"
        if note.is_file():
            logger.warning("the database is away, starting from the last known bundle")
            self._take(tenant, alias, slot, Target(**orjson.loads(note.read_bytes())))

    def _tell(self, tenant: str, alias: str, problem: str) -> None:
        """Log a problem once, not at every look."""
        if problem != self.problems.get((tenant, alias)):
            told = {"tenant": tenant, "alias": alias, "reason": problem}
            logger.warning("an alias cannot be followed; what served before goes on", extra=told)
        self.problems[tenant, alias] = problem
