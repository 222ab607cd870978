"""Refreshes that were requested over HTTP: a worker selects the users, freezes their histories and creates the chunks.

Two workers may prepare the same refresh at once. The first that writes it keeps it; the other's snapshot is deleted.
A worker that is killed here loses nothing, so no lease is needed.
"""

import shutil
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from retort.offline.jobs.heartbeat import log_error
from retort.offline.knowledge.config import KnowledgeConfig
from retort.offline.profiles.config import ProfilesConfig
from retort.offline.refresh.items import ItemSnapshot, NoItemDueError, freeze_items
from retort.offline.refresh.jobs import fill_job
from retort.offline.refresh.snapshot import Snapshot
from retort.offline.refresh.spec import RefreshSpec, open_item_refresh, open_refresh
from retort.offline.refresh.start import NoUserDueError, freeze_users
from retort.shared.base.errors import StoreError
from retort.shared.db.models import DONE, FAILED, RefreshJob
from retort.shared.db.session import database_time, reading, transaction
from retort.shared.profiles.refreshes import REQUESTED


def prepare_requested(engine: Engine) -> int:
    """Prepare all requested refreshes. Returns how many are ready; one that cannot be prepared ends with its reason."""
    with reading(engine) as session:
        query = sa.select(RefreshJob).filter_by(status=REQUESTED).order_by(RefreshJob.created_at, RefreshJob.id)
        jobs = session.scalars(query).all()
    return sum(_prepare(engine, job.id, job.spec) for job in jobs)


def _prepare(engine: Engine, job_id: str, spec: dict[str, Any]) -> bool:
    try:
        snapshot, config = _freeze(engine, spec)
        filled = fill_job(engine, job_id, config, snapshot)
    except (StoreError, DBAPIError):
        raise  # the database comes back, and the next look tries again
    except (NoUserDueError, NoItemDueError) as error:
        return _close(engine, job_id, DONE, str(error))
    except Exception as error:  # noqa: BLE001 - every error becomes the reason of the refresh
        return _close(engine, job_id, FAILED, log_error(f"refresh {job_id[:8]} cannot be started", error))
    if not filled:
        shutil.rmtree(snapshot.root, ignore_errors=True)
    return filled


def _freeze(engine: Engine, spec: dict[str, Any]) -> tuple[Snapshot | ItemSnapshot, ProfilesConfig | KnowledgeConfig]:
    requested = {key: value for key, value in spec["asked"].items() if key in ("policy", "rules", "user_ids")}
    options = RefreshSpec.model_validate(spec["origin"]).model_copy(update=requested)
    if options.items:
        with open_item_refresh(engine, options) as (pipeline, _, items, knowledge):
            folder, settings = Path(options.out), pipeline.context.language_model
            return freeze_items(engine, items, knowledge, folder, settings), knowledge
    with open_refresh(engine, options) as (pipeline, refresh):
        return freeze_users(engine, refresh, Path(options.out), pipeline.context.language_model), refresh.profiles


def _close(engine: Engine, job_id: str, status: str, reason: str) -> bool:
    with transaction(engine) as session:
        job = session.get_one(RefreshJob, job_id, with_for_update=True)
        if job.status == REQUESTED:
            job.status, job.ended_at, job.error = status, database_time(session), reason
    return False
