"""Counts that outlive jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tallies",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("label", sa.String(32), nullable=False),
        sa.Column("bucket", sa.String(16), nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tallies"),
    )
    # What has happened before is counted from what is left of it.
    # Of what is grouped, nothing gives no row.
    insert = "INSERT INTO tallies (name, label, bucket, value)"
    for found in (
        "SELECT 'jobs_accepted' AS name, '' AS label FROM jobs",
        "SELECT 'results_expired' AS name, '' AS label FROM jobs WHERE expired_at IS NOT NULL",
        "SELECT 'jobs_finished' AS name, state AS label FROM jobs WHERE finished_at IS NOT NULL",
    ):
        counted = f"SELECT name, label, '', count(*) FROM ({found}) AS found GROUP BY name, label"  # noqa: S608 - our own words
        op.execute(f"{insert} {counted}")


def downgrade() -> None:
    op.drop_table("tallies")
