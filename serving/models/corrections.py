"""Watcher of people's corrections of item knowledge: responses show them before the next bundle is made."""

import asyncio
import logging
from collections import defaultdict
from datetime import datetime

from sqlalchemy import Engine

from retort.serving.models.model_slots import ModelSlots
from retort.serving.runtime.database import CALL_TIMEOUT_S, database_exists
from retort.serving.runtime.threads import WATCHER_THREADS
from retort.shared.base.errors import RetortError
from retort.shared.base.schema import KNOWLEDGE
from retort.shared.db.session import open_database
from retort.shared.knowledge.item_knowledge import all_corrections, corrections_state

logger = logging.getLogger(__name__)

_State = tuple[str, int, datetime | None]


class CorrectionsWatcher:
    """Poller of the corrections of all tenants whose bundles hold knowledge. Blocking work runs in a thread."""

    def __init__(self, models: ModelSlots, database_url: str, interval_s: float) -> None:
        self._models = models
        self._database_url = database_url
        self._interval_s = interval_s
        self._engine: Engine | None = None
        # The bundle's version, and count and newest time of the corrections, that each slot shows.
        self._shown: dict[tuple[str, str], _State] = {}
        self._problem = ""

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await WATCHER_THREADS.run(self.check)
            await asyncio.sleep(self._interval_s)

    def check(self) -> None:
        """Read the corrections of each tenant, if they or the bundle have changed; problems are logged once."""
        try:
            tenants = self._tenants_of_bundles()
            for tenant, alias, slot in self._models.all():
                live = slot.current
                # A bundle that serves several tenants shows no corrections: one tenant's are not another's.
                if live is not None and tenants.get(id(live)) == {tenant} and database_exists(self._database_url):
                    engine = self._open()
                    state = (live.version, *corrections_state(engine, tenant=tenant))
                    if self._shown.get((tenant, alias)) != state:
                        live.catalogue.correct(all_corrections(engine, tenant=tenant))
                        self._shown[tenant, alias] = state
            self._problem = ""
        except RetortError as error:
            if str(error) != self._problem:
                logger.warning("corrections of item knowledge cannot be read", extra={"reason": str(error)})
            self._problem = str(error)
        except Exception:  # a watcher that stopped would never show a correction again
            logger.exception("the corrections watcher failed")

    def _tenants_of_bundles(self) -> dict[int, set[str]]:
        """Tenants by bundle, of the bundles that hold knowledge."""
        tenants: dict[int, set[str]] = defaultdict(set)
        for tenant, _, slot in self._models.all():
            if slot.current is not None and KNOWLEDGE in slot.current.catalogue.columns:
                tenants[id(slot.current)].add(tenant)
        return tenants

    def close(self) -> None:
        """Close the connections to the database."""
        if self._engine is not None:
            self._engine.dispose()

    def _open(self) -> Engine:
        if self._engine is None:
            self._engine = open_database(self._database_url, statement_timeout_s=CALL_TIMEOUT_S)
        return self._engine
