"""A small refresh over the fakes of the profile tests, and a worker with a scripted model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from retort.offline.jobs.leases import LeaseRules
from retort.offline.profiles.backends._base import Prompt, Reply
from retort.offline.profiles.config import ProfilesConfig
from retort.offline.refresh.jobs import create_job
from retort.offline.refresh.snapshot import ProfileRequest, Snapshot, write_snapshot
from retort.offline.refresh.worker import RefreshWorker
from tests.offline.profiles._fakes import GOOD, NO_SERVER, ScriptedBackend, catalogue, histories

QUICK = LeaseRules(lease_s=30.0, beat_s=0.05, max_attempts=3, backoff_s=0.0)


def snapshot(folder: Path, n_users: int = 12, chunk_users: int = 3, length: int = 4) -> Snapshot:
    return write_snapshot(folder, (ProfileRequest(one) for one in histories(n_users, length)), catalogue(), chunk_users)


def job(engine: Engine, folder: Path, n_users: int = 12, chunk_users: int = 3, **given: Any) -> str:
    """A job of n_users in chunks of chunk_users."""
    budget = {name: given.pop(name) for name in ("budget_tokens", "budget_usd") if name in given}
    config = ProfilesConfig(backend="template", domain="movies", chunk_users=chunk_users, **given)
    return create_job(engine, "test", config, snapshot(folder / "snapshot", n_users, chunk_users), **budget)


def worker(
    engine: Engine, answer: Callable[[Prompt], Reply | str] = lambda _: GOOD, rules: LeaseRules = QUICK, **given: Any
) -> tuple[RefreshWorker, ScriptedBackend]:
    """A worker with a scripted model."""
    backend = ScriptedBackend(answer)
    return RefreshWorker(engine, NO_SERVER, rules, open_backend=lambda *_: backend, **given), backend
