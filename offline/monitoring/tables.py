"""Metrics of refreshes, runs and connections. They read few rows of the database, at every scrape."""

from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa
from prometheus_client.metrics_core import Metric
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from retort.offline.monitoring.families import counter, gauge
from retort.shared.db.models import RefreshChunk, RefreshJob, Run
from retort.shared.db.session import reading
from retort.shared.profiles.refreshes import JobStatus, read_job


def refresh_metrics(engine: Engine) -> Iterator[Metric]:
    """Read the latest refresh of each name, and tokens and cost of all refreshes. Raises StoreError."""
    with reading(engine) as session:
        spent = session.execute(_spent()).all()
        latest = [(tenant, job_id) for tenant, job_id in session.execute(_latest())]
    yield from _spent_metrics(spent)
    yield from _progress_metrics([(tenant, read_job(engine, job_id)) for tenant, job_id in latest])


def _spent() -> sa.Executable:
    sums = [sa.func.sum(column) for column in (RefreshChunk.prompt_tokens, RefreshChunk.completion_tokens)]
    return (
        sa.select(RefreshJob.tenant, RefreshJob.name, *sums, sa.func.sum(RefreshChunk.cost_usd))
        .join(RefreshChunk, RefreshChunk.job_id == RefreshJob.id)
        .group_by(RefreshJob.tenant, RefreshJob.name)
    )


def _latest() -> sa.Executable:
    newest = (
        sa.select(RefreshJob.tenant, RefreshJob.name, sa.func.max(RefreshJob.created_at).label("at"))
        .group_by(RefreshJob.tenant, RefreshJob.name)
        .subquery()
    )
    same = sa.and_(
        RefreshJob.tenant == newest.c.tenant, RefreshJob.name == newest.c.name, RefreshJob.created_at == newest.c.at
    )
    return sa.select(RefreshJob.tenant, RefreshJob.id).join(newest, same)


def _spent_metrics(rows: Iterable[Any]) -> Iterator[Metric]:
    tokens = counter("retort_refresh_tokens")
    cost = counter("retort_refresh_cost_usd")
    for tenant, name, prompt, completion, usd in rows:
        tokens.add_metric([tenant, name, "prompt"], float(prompt or 0))
        tokens.add_metric([tenant, name, "completion"], float(completion or 0))
        cost.add_metric([tenant, name], float(usd or 0))
    yield from (tokens, cost)


def _progress_metrics(jobs: list[tuple[str, JobStatus]]) -> Iterator[Metric]:
    users = gauge("retort_refresh_users")
    done = gauge("retort_refresh_users_done")
    rate = gauge("retort_refresh_users_per_second")
    failed = gauge("retort_refresh_texts_failed")
    status = gauge("retort_refresh_status")
    for tenant, job in jobs:
        labels = [tenant, job.name]
        users.add_metric(labels, job.n_users)
        done.add_metric(labels, job.users_done)
        rate.add_metric(labels, job.users_per_s)
        failed.add_metric(labels, job.failed)
        status.add_metric([*labels, job.status], 1)
    yield from (users, done, rate, failed, status)


def run_metrics(engine: Engine) -> Iterator[Metric]:
    """Count submitted runs by status. Raises StoreError."""
    runs = gauge("retort_runs")
    query = sa.select(Run.tenant, Run.status, sa.func.count()).group_by(Run.tenant, Run.status)
    with reading(engine) as session:
        for tenant, status, count in session.execute(query):
            runs.add_metric([tenant, status], count)
    yield runs


def connection_metrics(engine: Engine) -> Iterator[Metric]:
    """Count the connections to PostgreSQL over all processes; SQLite has none. Raises StoreError."""
    held = gauge("retort_database_connections")
    limit = gauge("retort_database_connections_limit")
    if engine.dialect.name == "postgresql":
        with reading(engine) as session:
            for application, state, count in session.execute(_CONNECTIONS):
                held.add_metric([application or "unnamed", state or "unknown"], count)
            limit.add_metric([], _limit(session))
    yield from (held, limit)


_CONNECTIONS = sa.text(
    "select application_name, state, count(*) from pg_stat_activity where datname = current_database() "
    "group by application_name, state"
)


def _limit(session: Session) -> float:
    return float(session.execute(sa.text("select current_setting('max_connections')")).scalar_one())
