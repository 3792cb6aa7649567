"""Idempotency keys, and the mark of jobs that are being deleted."""

import sqlalchemy as sa
from alembic import op

from core.jobs.records import UtcTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("deleted_at", UtcTime))
    op.create_index("ix_jobs_deleted_at", "jobs", ["deleted_at"])
    op.create_table(
        "idempotency_keys",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("job_id", sa.String(28), nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key", name="pk_idempotency_keys"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_idempotency_keys_job_id_jobs", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_idempotency_keys_job_id", "idempotency_keys", ["job_id"])
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def downgrade() -> None:
    op.drop_table("idempotency_keys")
    # Without the mark they would be jobs again, whose results may be half gone.
    op.execute("DELETE FROM jobs WHERE deleted_at IS NOT NULL")
    op.drop_index("ix_jobs_deleted_at", "jobs")
    op.drop_column("jobs", "deleted_at")
