"""Sweeps: many jobs that were asked for at once."""

import sqlalchemy as sa
from alembic import op

from core.jobs.records import UtcTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sweeps",
        sa.Column("id", sa.String(28), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("cells", sa.JSON, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("deleted_at", UtcTime),
        sa.Column("once_key", sa.String(255)),
        sa.Column("once_sha256", sa.String(64)),
        sa.PrimaryKeyConstraint("id", name="pk_sweeps"),
    )
    op.create_index("ix_sweeps_tenant_created_at_id", "sweeps", ["tenant", "created_at", "id"])
    op.create_index("ix_sweeps_once", "sweeps", ["tenant", "once_key"], unique=True)
    op.create_index("ix_sweeps_deleted_at", "sweeps", ["deleted_at"])
    # No foreign key: SQLite could not take the column away again, and a sweep's row outlives its jobs'.
    op.add_column("jobs", sa.Column("sweep_id", sa.String(28)))
    op.add_column("jobs", sa.Column("sweep_cell", sa.Integer))
    op.create_index("ix_jobs_sweep_id_sweep_cell", "jobs", ["sweep_id", "sweep_cell"])


def downgrade() -> None:
    # Its jobs stay, and are jobs like others.
    op.drop_index("ix_jobs_sweep_id_sweep_cell", "jobs")
    op.drop_column("jobs", "sweep_cell")
    op.drop_column("jobs", "sweep_id")
    op.drop_table("sweeps")
