"""What was shown to whom, drained from serving's stream."""

import sqlalchemy as sa
from alembic import op

revision = "r0004"
down_revision = "r0003"
branch_labels = None
depends_on = None

_INDEXES = {"ix_exposures_user": "user_id", "ix_exposures_session": "session_id", "ix_exposures_request": "request_id"}


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "exposures",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("exposure_key", sa.String(length=32), nullable=False),
        sa.Column("request_id", sa.String(length=256), nullable=False),
        sa.Column("user_id", sa.String(length=256), nullable=True),
        sa.Column("session_id", sa.String(length=256), nullable=True),
        sa.Column("source", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.String(length=128), nullable=True),
        sa.Column("model", sa.String(length=128), nullable=True),
        sa.Column("version", sa.String(length=64), nullable=True),
        sa.Column("experiment", sa.String(length=128), nullable=True),
        sa.Column("variant", sa.String(length=128), nullable=True),
        sa.Column("first_rank", sa.Integer(), nullable=False),
        sa.Column("item_ids", sa.JSON(), nullable=False),
        sa.Column("shown_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("tenant", "exposure_key", name="uq_exposures_key"),
    )
    for name, column in _INDEXES.items():
        op.create_index(name, "exposures", ["tenant", column], unique=False)


def downgrade() -> None:
    """Undo; what was shown is gone with its table."""
    for name in _INDEXES:
        op.drop_index(name, table_name="exposures")
    op.drop_table("exposures")
