"""Registry watcher: polls the registry's aliases in the background and swaps bundles; no request waits for it.

A new bundle is downloaded, loaded and checked before it serves. While the database is down, or the alias' bundle is
refused, the current bundle keeps serving, and a server that starts meanwhile loads the last bundle that is known to be
good.
"""

import asyncio
import logging
import os
import socket
import time
from dataclasses import asdict
from pathlib import Path

import orjson
from sqlalchemy import Engine

from retort.serving.models.bundle_cache import BundleTarget, fetch_bundle, prune_cache
from retort.serving.models.model_slots import ModelSlots, Slot
from retort.serving.runtime.database import CALL_TIMEOUT_S, database_exists
from retort.serving.runtime.metrics import Metrics
from retort.serving.runtime.settings import ServingSettings
from retort.serving.runtime.threads import WATCHER_THREADS
from retort.shared.base.errors import RetortError, StoreError
from retort.shared.base.settings import Settings
from retort.shared.db.session import open_database
from retort.shared.model import registry

logger = logging.getLogger(__name__)

RETRY_REFUSED_S = 60.0
# A server without a bundle loads the last good one after this time, while the database is still being asked.
REGISTRY_PATIENCE_S = 2.0


class RegistryWatcher:
    """Poller of the aliases. Blocking work runs in a thread."""

    def __init__(self, models: ModelSlots, metrics: Metrics, settings: Settings, serving: ServingSettings) -> None:
        self._models = models
        self._metrics = metrics
        self._settings = settings
        self._serving = serving
        self._engine: Engine | None = None
        # Refused bundles of each slot, with the time of the next attempt: a download may have been truncated.
        self._refused: dict[tuple[str, str, str], float] = {}
        self._state_dir = settings.retort_home / "serving"
        self._cache_dir = self._state_dir / "bundles"
        # Present problem of each alias; each is logged once.
        self.problems: dict[tuple[str, str], str] = {}

    def watched_slots(self) -> list[tuple[str, str, Slot]]:
        """Return (tenant, alias, slot) of the watched slots.

        With RETORT_BUNDLE these are only the additional aliases of an A/B test.
        """
        is_fixed = self._serving.bundle is not None
        return [entry for entry in self._models.all() if not (is_fixed and entry[1] == self._models.alias)]

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            for tenant, alias, slot in self.watched_slots():
                try:
                    await self._check_alias_in_thread(tenant, alias, slot)
                except Exception:  # a watcher that stopped would keep the server on one bundle forever
                    logger.exception("the registry watcher failed")
                    self._metrics.swaps.labels(tenant, alias, "failed").inc()
            await asyncio.sleep(self._serving.follow_every_s)

    async def _check_alias_in_thread(self, tenant: str, alias: str, slot: Slot) -> None:
        """Check an alias; a slot without a bundle does not wait long for a database that is silent."""
        check = asyncio.ensure_future(WATCHER_THREADS.run(self.check_alias, tenant, alias, slot))
        try:
            if slot.current is None:
                await asyncio.wait([check], timeout=REGISTRY_PATIENCE_S)
                if not check.done():
                    reason = f"the database has not answered within {REGISTRY_PATIENCE_S:.0f} s"
                    await WATCHER_THREADS.run(self._load_last_target, tenant, alias, slot, reason)
            await check
        finally:
            check.cancel()

    def check_alias(self, tenant: str, alias: str, slot: Slot) -> None:
        """Read an alias and swap the slot when it names another bundle; problems are logged and change nothing."""
        try:
            target = self._resolve(tenant, alias)
            self.problems.pop((tenant, alias), None)
        except RetortError as error:
            if not isinstance(error, registry.RegistryError):
                self._metrics.registry_failures.inc()
            self._report_problem(tenant, alias, str(error))
            self._load_last_target(tenant, alias, slot, str(error))
            return
        if self._swap_to(tenant, alias, slot, target):
            slot.outdated = None
            return
        reason = slot.refusals[-1].reason if slot.refusals else "the alias' bundle was refused"
        self._load_last_target(tenant, alias, slot, reason)
        slot.outdated = reason if slot.current is not None else None

    def close(self) -> None:
        """Close the connections to the database."""
        if self._engine is not None:
            self._engine.dispose()

    def _resolve(self, tenant: str, alias: str) -> BundleTarget:
        if not database_exists(self._settings.database):
            raise StoreError(f"there is no database yet at {self._settings.retort_home}; publish a bundle first.")
        if self._engine is None:
            self._engine = open_database(self._settings.database, statement_timeout_s=CALL_TIMEOUT_S)
        published = registry.resolve(self._engine, alias, tenant=tenant)
        return BundleTarget(published.bundle_id, published.uri)

    def _swap_to(self, tenant: str, alias: str, slot: Slot, target: BundleTarget) -> bool:
        """Swap to the target unless it already serves or was refused recently; return whether it serves."""
        if slot.current is not None and slot.current.version == target.bundle_id:
            return True
        if time.monotonic() < self._refused.get((tenant, alias, target.bundle_id), 0.0):
            return False
        previous = slot.current
        try:
            path = fetch_bundle(target, self._cache_dir)
            live = slot.swap(path, threads=self._serving.threads, latency_gate_ms=self._serving.latency_gate_ms)
        except (RetortError, OSError) as error:
            slot.refuse(target.uri, str(error))
            self._refused[tenant, alias, target.bundle_id] = time.monotonic() + RETRY_REFUSED_S
            self._metrics.swaps.labels(tenant, alias, "refused").inc()
            return False
        self._refused.pop((tenant, alias, target.bundle_id), None)
        if previous is not None:
            self._metrics.model.labels(tenant, alias, previous.name, previous.version).set(0)
        self._metrics.model.labels(tenant, alias, live.name, live.version).set(1)
        self._metrics.swaps.labels(tenant, alias, "taken").inc()
        try:
            self._save_last_target(tenant, alias, target)
        except OSError as error:
            logger.warning(
                "the last good bundle cannot be noted in RETORT_HOME; a start without the registry will have no bundle",
                extra={"tenant": tenant, "alias": alias, "reason": str(error)},
            )
        prune_cache(self._cache_dir, self._named_bundles())
        return True

    def _note_path(self, tenant: str, alias: str) -> Path:
        return self._state_dir / f"{tenant}.{alias}.json"

    def _save_last_target(self, tenant: str, alias: str, target: BundleTarget) -> None:
        self._state_dir.mkdir(parents=True, exist_ok=True)
        path = self._note_path(tenant, alias)
        before = next((asdict(note) for note in _read_notes(path) if note.bundle_id != target.bundle_id), None)
        # Servers that share RETORT_HOME may write it at the same moment.
        temporary = path.with_suffix(f".{socket.gethostname()}-{os.getpid()}.new")
        temporary.write_bytes(orjson.dumps({**asdict(target), "before": before}))
        temporary.replace(path)

    def _named_bundles(self) -> set[str]:
        """Return the bundles that the aliases of all servers of this RETORT_HOME named last."""
        return {note.bundle_id for path in self._state_dir.glob("*.json") for note in _read_notes(path)}

    def _load_last_target(self, tenant: str, alias: str, slot: Slot, reason: str) -> None:
        """Load the last good bundle into a slot that has none, or the one before it: any serves better than none."""
        if slot.current is not None:
            return
        for note in _read_notes(self._note_path(tenant, alias)):
            if self._swap_to(tenant, alias, slot, note):
                slot.outdated = reason
                extra = {"tenant": tenant, "alias": alias, "version": note.bundle_id, "reason": reason}
                logger.warning("the alias cannot be followed; the last known good bundle serves", extra=extra)
                return

    def _report_problem(self, tenant: str, alias: str, problem: str) -> None:
        """Log a problem once, not at every poll."""
        if problem != self.problems.get((tenant, alias)):
            extra = {"tenant": tenant, "alias": alias, "reason": problem}
            logger.warning("the registry watcher cannot read an alias; the current bundle keeps serving", extra=extra)
        self.problems[tenant, alias] = problem


def _read_notes(path: Path) -> list[BundleTarget]:
    """Read the last good bundle and, where it is known, the one before it; none when the file is damaged."""
    try:
        note = orjson.loads(path.read_bytes())
        notes = [note, *([note["before"]] if note.get("before") else [])]
        return [BundleTarget(str(each["bundle_id"]), str(each["uri"])) for each in notes]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning(
            "the note of the last good bundle cannot be read", extra={"where": str(path), "reason": str(error)}
        )
        return []
