"""Refreshes that were asked for over HTTP: a worker reads the data, freezes who is due, and makes each a job.

Two workers may freeze the same one at once: the first to write it down has it, the other's snapshot is dropped. So a
worker that is killed here loses nothing, and no lease is needed.
"""

import logging
import shutil
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from retort.offline.jobs.heartbeat import log_error
from retort.offline.profiles.config import ProfilesConfig
from retort.offline.refresh.jobs import fill_job
from retort.offline.refresh.snapshot import Snapshot
from retort.offline.refresh.spec import Words, refresh_of
from retort.offline.refresh.start import NobodyDueError, freeze
from retort.shared.base.errors import RetortError, StoreError
from retort.shared.db.models import DONE, FAILED, RefreshJob, now
from retort.shared.db.session import reading, transaction
from retort.shared.profiles.refreshes import ASKED

_logger = logging.getLogger(__name__)


def prepare_asked(engine: Engine) -> int:
    """Make jobs of all that was asked for; how many. What cannot be one ends with its reason."""
    with reading(engine) as session:
        query = sa.select(RefreshJob).filter_by(status=ASKED).order_by(RefreshJob.created_at, RefreshJob.id)
        jobs = session.scalars(query).all()
    return sum(_prepare(engine, job.id, job.spec) for job in jobs)


def _prepare(engine: Engine, job_id: str, spec: dict[str, Any]) -> bool:
    try:
        words = Words.model_validate(spec["origin"])
        asked = {key: value for key, value in spec["asked"].items() if key in ("policy", "rules", "user_ids")}
        snapshot, profiles = _frozen(engine, words.model_copy(update=asked))
    except (StoreError, DBAPIError):
        raise  # it comes back, and this is tried again
    except NobodyDueError as error:
        return _close(engine, job_id, DONE, str(error))
    except Exception as error:  # noqa: BLE001 - every error becomes the reason of the refresh
        return _close(engine, job_id, FAILED, log_error(f"refresh {job_id[:8]} cannot be started", error))
    try:
        made = fill_job(engine, job_id, profiles, snapshot)
    except RetortError as error:
        if isinstance(error, StoreError):
            raise
        return _close(engine, job_id, FAILED, str(error))
    if not made:
        shutil.rmtree(snapshot.root, ignore_errors=True)
    return made


def _frozen(engine: Engine, words: Words) -> tuple[Snapshot, ProfilesConfig]:
    with refresh_of(engine, words) as (pipeline, refresh):
        return freeze(engine, refresh, Path(words.out), pipeline.context.language_model), refresh.profiles


def _close(engine: Engine, job_id: str, status: str, reason: str) -> bool:
    with transaction(engine) as session:
        job = session.get_one(RefreshJob, job_id, with_for_update=True)
        if job.status == ASKED:
            job.status, job.ended_at, job.error = status, now(), reason
    return False
