"""Fencing tokens for run steps, and a table of leases for experiment units."""

import sqlalchemy as sa
from alembic import op

revision = "r0005"
down_revision = "r0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. A step that runs during the upgrade keeps its status; another worker takes it over after one lease."""
    with op.batch_alter_table("steps") as batch:
        batch.add_column(sa.Column("lease", sa.String(length=32), nullable=True))
        batch.add_column(sa.Column("not_before", sa.DateTime(timezone=True), nullable=True))
    # earlier versions wrote the worker's time here: a clock that was ahead would keep its lease alive for too long
    steps = sa.table("steps", sa.column("status"), sa.column("heartbeat_at", sa.DateTime(timezone=True)))
    op.execute(sa.update(steps).where(steps.c.status == "running").values(heartbeat_at=sa.func.current_timestamp()))
    op.create_table(
        "experiment_units",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("owner", sa.String(length=256), nullable=True),
        sa.Column("lease", sa.String(length=32), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:
    """Undo. Records of finished experiment units are files and stay."""
    op.drop_table("experiment_units")
    with op.batch_alter_table("steps") as batch:
        batch.drop_column("not_before")
        batch.drop_column("lease")
