"""Counts that outlive jobs, and how large each result is."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_NAMED = sa.text("manifest_key IS NOT NULL")


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
    op.add_column("jobs", sa.Column("result_bytes", sa.BigInteger))
    # Summed without a look at the table, whose rows are wide.
    op.create_index(
        "ix_jobs_result_bytes",
        "jobs",
        ["result_bytes"],
        sqlite_where=_NAMED,
        postgresql_where=_NAMED,
    )
    # What has happened before is counted from what is left of it.
    for name, label, which in (
        ("jobs_accepted", "''", "id IS NOT NULL"),
        ("results_expired", "''", "expired_at IS NOT NULL"),
        ("jobs_finished", "state", "finished_at IS NOT NULL"),
    ):
        found = f"SELECT {label} AS label FROM jobs WHERE {which}"  # noqa: S608 - our own words
        op.execute(
            "INSERT INTO tallies (name, label, bucket, value)"
            f" SELECT '{name}', label, '', count(*) FROM ({found}) AS found GROUP BY label"
        )


def downgrade() -> None:
    op.drop_index("ix_jobs_result_bytes", "jobs")
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("result_bytes")
    op.drop_table("tallies")
