"""When a job's artifacts went by retention."""

import sqlalchemy as sa
from alembic import op

from core.jobs.records import UtcTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("expired_at", UtcTime))


def downgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("expired_at")
