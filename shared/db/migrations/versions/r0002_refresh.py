"""Refreshes of profiles in leased chunks, people's own choices, and parameters in the key of a profile."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

from retort.shared.base.hashing import hash_json

revision = "r0002"
down_revision = "r0001"
branch_labels = None
depends_on = None

_QUESTION = ["tenant", "user_id", "aspect", "history_hash", "prompt_version", "model"]
_ROWS_AT_ONCE = 1000


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("profiles") as batch:
        batch.add_column(sa.Column("parameters_hash", sa.String(length=64), nullable=True))
        batch.add_column(sa.Column("n_events", sa.Integer(), nullable=True))
        batch.add_column(sa.Column("cost_usd", sa.Double(), nullable=True))
        batch.add_column(sa.Column("grounding", sa.Double(), nullable=True))
    _hash_parameters(op.get_bind())
    with op.batch_alter_table("profiles") as batch:
        batch.alter_column("parameters_hash", existing_type=sa.String(length=64), nullable=False)
        batch.drop_constraint("uq_profiles_question", type_="unique")
        batch.create_unique_constraint("uq_profiles_question", [*_QUESTION, "parameters_hash"])
    _create_choices()
    _create_jobs()
    _create_chunks()


def downgrade() -> None:
    """Undo. Of answers that differ in their parameters alone, the latest stays: the old key has room for one."""
    op.drop_index("ix_refresh_chunks_status", table_name="refresh_chunks")
    op.drop_table("refresh_chunks")
    op.drop_index("ix_refresh_jobs_status", table_name="refresh_jobs")
    op.drop_table("refresh_jobs")
    op.drop_table("profile_choices")
    profiles = sa.table("profiles", sa.column("id"), *(sa.column(name) for name in _QUESTION))
    latest = sa.select(sa.func.max(profiles.c.id)).group_by(*(profiles.c[name] for name in _QUESTION))
    op.execute(sa.delete(profiles).where(profiles.c.id.not_in(latest)))
    with op.batch_alter_table("profiles") as batch:
        batch.drop_constraint("uq_profiles_question", type_="unique")
        batch.create_unique_constraint("uq_profiles_question", _QUESTION)
        for name in ("grounding", "cost_usd", "n_events", "parameters_hash"):
            batch.drop_column(name)


def _hash_parameters(connection: sa.Connection) -> None:
    """By rows of rising id, so that a table of millions is never held at once."""
    profiles = sa.table("profiles", sa.column("id"), sa.column("parameters"), sa.column("parameters_hash"))
    change = (
        sa.update(profiles).where(profiles.c.id == sa.bindparam("row")).values(parameters_hash=sa.bindparam("digest"))
    )
    last = 0
    while True:
        query = sa.select(profiles.c.id, profiles.c.parameters).where(profiles.c.id > last)
        rows = connection.execute(query.order_by(profiles.c.id).limit(_ROWS_AT_ONCE)).all()
        if not rows:
            return
        connection.execute(change, [{"row": row.id, "digest": hash_json(_value(row.parameters))} for row in rows])
        last = rows[-1].id


def _value(stored: Any) -> Any:
    # SQLite gives JSON back as text, PostgreSQL as the value
    return json.loads(stored) if isinstance(stored, str) else stored


def _create_choices() -> None:
    op.create_table(
        "profile_choices",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=256), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("set_by", sa.String(length=256), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "user_id"),
    )


def _create_jobs() -> None:
    op.create_table(
        "refresh_jobs",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("n_users", sa.Integer(), nullable=False),
        sa.Column("n_chunks", sa.Integer(), nullable=False),
        sa.Column("budget_tokens", sa.BigInteger(), nullable=True),
        sa.Column("budget_usd", sa.Double(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_refresh_jobs_status", "refresh_jobs", ["status"], unique=False)


def _create_chunks() -> None:
    op.create_table(
        "refresh_chunks",
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("n_users", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("owner", sa.String(length=256), nullable=True),
        sa.Column("lease", sa.String(length=32), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("written", sa.Integer(), nullable=False),
        sa.Column("reused", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_usd", sa.Double(), nullable=False),
        sa.Column("problems", sa.JSON(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["refresh_jobs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "position"),
    )
    op.create_index("ix_refresh_chunks_status", "refresh_chunks", ["status", "heartbeat_at"], unique=False)
