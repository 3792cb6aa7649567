"""Run by Alembic for every command; the caller brings the connection and its transaction."""

from alembic import context

from core.jobs.records import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite alters a table by copying it.
    render_as_batch=True,
)
context.run_migrations()
