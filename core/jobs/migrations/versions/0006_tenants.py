"""Quotas of tenants, the bytes of results, and the audit log."""

import sqlalchemy as sa
from alembic import op

from core.jobs.records import UtcTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Results from before count as nothing: what they take is known to the object store alone.
    op.add_column(
        "jobs", sa.Column("stored_bytes", sa.BigInteger, nullable=False, server_default="0")
    )
    op.create_index("ix_jobs_tenant_state", "jobs", ["tenant", "state"])
    held = sa.text("manifest_key IS NOT NULL")
    op.create_index(
        "ix_jobs_tenant_stored_bytes_manifest_key",
        "jobs",
        ["tenant", "stored_bytes", "manifest_key"],
        sqlite_where=held,
        postgresql_where=held,
    )
    op.create_table(
        "tenants",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("quota", sa.JSON, nullable=False),
        sa.Column("changed_at", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_tenants"),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.String(28), nullable=False),
        sa.Column("at", UtcTime, nullable=False),
        sa.Column("tenant", sa.String(64)),
        sa.Column("key_id", sa.String(16)),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("target", sa.String(100)),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.Column("address", sa.String(64)),
        sa.Column("request_id", sa.String(64)),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_tenant_at_id", "audit", ["tenant", "at", "id"])
    op.create_index("ix_audit_at_id", "audit", ["at", "id"])


def downgrade() -> None:
    op.drop_table("audit")
    op.drop_table("tenants")
    op.drop_index("ix_jobs_tenant_stored_bytes_manifest_key", "jobs")
    op.drop_index("ix_jobs_tenant_state", "jobs")
    # Not by copying the table, as a batch would: dropping the old one takes its events along.
    op.drop_column("jobs", "stored_bytes")
