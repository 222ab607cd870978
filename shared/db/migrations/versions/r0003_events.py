"""What users did, drained from serving's stream; who moved an alias, and whether the gate was passed."""

import sqlalchemy as sa
from alembic import op

revision = "r0003"
down_revision = "r0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("event_key", sa.String(length=32), nullable=False),
        sa.Column("event_id", sa.String(length=288), nullable=False),
        sa.Column("user_id", sa.String(length=256), nullable=True),
        sa.Column("session_id", sa.String(length=256), nullable=True),
        sa.Column("item_id", sa.String(length=256), nullable=False),
        sa.Column("event_type", sa.String(length=128), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.Column("accepted_ms", sa.BigInteger(), nullable=False),
        sa.Column("request_id", sa.String(length=256), nullable=True),
        sa.Column("impressions", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("tenant", "event_key", name="uq_events_key"),
    )
    op.create_index("ix_events_user", "events", ["tenant", "user_id"], unique=False)
    op.create_index("ix_events_session", "events", ["tenant", "session_id"], unique=False)
    with op.batch_alter_table("alias_changes") as batch:
        batch.add_column(sa.Column("set_by", sa.String(length=256), nullable=True))
        batch.add_column(sa.Column("reason", sa.Text(), nullable=True))
        batch.add_column(sa.Column("forced", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """Undo; the events are gone with their table."""
    with op.batch_alter_table("alias_changes") as batch:
        for name in ("forced", "reason", "set_by"):
            batch.drop_column(name)
    op.drop_index("ix_events_session", table_name="events")
    op.drop_index("ix_events_user", table_name="events")
    op.drop_table("events")
