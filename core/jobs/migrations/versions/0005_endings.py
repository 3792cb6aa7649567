"""Attempts with their reasons, the plan of a run, and turns between tenants, and who the workers are."""

import sqlalchemy as sa
from alembic import op

from core.jobs.records import UtcTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("plan", sa.JSON))
    op.add_column("jobs", sa.Column("memory_budget", sa.BigInteger))
    op.create_table(
        "attempts",
        sa.Column("job_id", sa.String(28), nullable=False),
        sa.Column("epoch", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("worker", sa.String(255), nullable=False),
        sa.Column("started_at", UtcTime, nullable=False),
        sa.Column("ended_at", UtcTime),
        sa.Column("outcome", sa.String(16)),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "epoch", name="pk_attempts"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_attempts_job_id_jobs", ondelete="CASCADE"
        ),
    )
    op.create_table(
        "turns",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("turn", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", name="pk_turns"),
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.String(255), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("device", sa.String(64), nullable=False),
        sa.Column("gpus", sa.JSON, nullable=False),
        sa.Column("versions", sa.JSON, nullable=False),
        sa.Column("started_at", UtcTime, nullable=False),
        sa.Column("last_seen", UtcTime, nullable=False),
        sa.Column("again_in", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
    )
    op.drop_index("ix_jobs_state_priority_queued_at", "jobs")
    op.create_index(
        "ix_jobs_order", "jobs", ["state", "tenant", sa.text("priority DESC"), "created_at", "id"]
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_order", "jobs")
    op.create_index("ix_jobs_state_priority_queued_at", "jobs", ["state", "priority", "queued_at"])
    op.drop_table("workers")
    op.drop_table("turns")
    op.drop_table("attempts")
    # Not in a batch: SQLite would drop the old table, and all events with it.
    op.drop_column("jobs", "memory_budget")
    op.drop_column("jobs", "plan")
