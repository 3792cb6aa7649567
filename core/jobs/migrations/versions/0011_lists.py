"""Lists of jobs come off an index, by whatever they are filtered."""

import sqlalchemy as sa
from alembic import op

from core.jobs.records import UtcTime

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_EACH = {
    "sqlite": "json_each(jobs.labels) AS label",
    "postgresql": "json_each_text(jobs.labels) AS label",
}


def upgrade() -> None:
    op.create_table(
        "labels",
        sa.Column("job_id", sa.String(28), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("value", sa.String(512), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "key", name="pk_labels"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_labels_job_id_jobs", ondelete="CASCADE"
        ),
    )
    each = _EACH[op.get_bind().dialect.name]
    op.execute(
        "INSERT INTO labels (job_id, key, value, tenant, created_at)"  # noqa: S608 - our own words
        f" SELECT jobs.id, label.key, label.value, jobs.tenant, jobs.created_at FROM jobs, {each}"
    )
    op.create_index(
        "ix_labels_listed", "labels", ["tenant", "key", "value", "created_at", "job_id"]
    )
    op.drop_index("ix_jobs_tenant_state", "jobs")
    for column in ("state", "method"):
        names = ["tenant", column, "created_at", "id"]
        op.create_index(f"ix_jobs_{'_'.join(names)}", "jobs", names)


def downgrade() -> None:
    for column in ("state", "method"):
        op.drop_index(f"ix_jobs_tenant_{column}_created_at_id", "jobs")
    op.create_index("ix_jobs_tenant_state", "jobs", ["tenant", "state"])
    op.drop_table("labels")
