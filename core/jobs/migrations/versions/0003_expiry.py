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
    # Not as a batch: that would drop the old table on SQLite, and with its rows their events.
    op.drop_column("jobs", "expired_at")
