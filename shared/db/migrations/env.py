"""Alembic's entry: runs the migrations inside the transaction that `retort.shared.db.migrate` opened."""

from alembic import context

from retort.shared.db.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite cannot alter a column; Alembic then copies the table.
    render_as_batch=True,
    transactional_ddl=True,
    compare_type=True,
)
context.run_migrations()
