"""Results of offline experiments in the database: what `retort experiment publish` stores and the console shows.

The server reads these rows alone. It needs neither the run directory of an experiment nor torch.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import Engine, delete, select

from retort.shared.base.errors import StoreOutdatedError
from retort.shared.db.models import OfflineResult, now
from retort.shared.db.session import reading, transaction
from retort.shared.history.keys import DEFAULT_TENANT


class OfflineRow(BaseModel):
    """One row of an experiment's table. Differences are paired over users, as shares of the baseline's value."""

    name: str
    student: str | None = Field(description="null for a ranker without training")
    is_baseline: bool
    is_control: bool = Field(description="knows less on purpose, so its gain is not knowledge")
    explains: list[str] = Field(description="control: the rows whose gain it explains")
    value: float | None = Field(description="mean over seeds; null where the metric was not measured")
    seeds: int
    users: int | None = Field(description="test cases of the paired difference; null without one")
    difference: float | None = Field(description="null for the baseline and for rankers without training")
    low: float | None = Field(description="95 % interval of the difference, over users and seeds")
    high: float | None
    p: float | None = Field(description="two-sided, not corrected for the number of rows")


def paired_fields(compared: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the fields of a row's paired difference, as shares of the baseline's value.

    Args:
        compared: baseline, difference, low, high, p and users; None: there is no difference. A baseline of 0 has no
            shares.
    """
    base = compared["baseline"] if compared else 0.0
    if not compared or not base:
        return dict.fromkeys(("users", "difference", "low", "high", "p"))
    shares = {name: compared[name] / base for name in ("difference", "low", "high")}
    return {"users": compared["users"], "p": compared["p"], **shares}


class OfflineTable(BaseModel):
    """Table of one offline experiment, as far as it has run."""

    name: str
    description: str
    command: str = Field(description="the command that repeats it, without directories")
    commits: list[str] = Field(description="state of the code of its runs")
    metric: str
    protocol: str
    cases: int = Field(description="test cases")
    expected_seeds: int
    missing: list[str] = Field(description="rows that have no run yet")
    rows: list[OfflineRow]


class PublishedTable(OfflineTable):
    """A stored table and the time of its storing."""

    published_at: datetime


def store_table(engine: Engine, table: OfflineTable, tenant: str = DEFAULT_TENANT) -> None:
    """Store a table; it replaces an earlier one of the same experiment."""
    with transaction(engine) as session:
        document = table.model_dump(mode="json")
        session.merge(OfflineResult(tenant=tenant, name=table.name, document=document, published_at=now()))


def remove_table(engine: Engine, name: str, tenant: str = DEFAULT_TENANT) -> bool:
    """Remove the table of an experiment; returns whether there was one."""
    key = (OfflineResult.tenant == tenant, OfflineResult.name == name)
    with transaction(engine) as session:
        return bool(session.execute(delete(OfflineResult).where(*key)).rowcount)  # type: ignore[attr-defined]


def read_tables(engine: Engine, tenant: str, limit: int) -> list[PublishedTable]:
    """Return the newest tables of a tenant, newest first; none from a database of an earlier version."""
    rows = select(OfflineResult).where(OfflineResult.tenant == tenant).order_by(OfflineResult.published_at.desc())
    try:
        with reading(engine) as session:
            found = session.scalars(rows.limit(limit)).all()
    except StoreOutdatedError:
        return []
    return [PublishedTable(**row.document, published_at=row.published_at) for row in found]
