"""The index of what has been deleted holds nothing else.

SQLite took it for queries that want what has not been, which is nearly every row, instead of a far
better one.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_ONLY = sa.text("deleted_at IS NOT NULL")


def upgrade() -> None:
    for table in ("jobs", "sweeps"):
        name = f"ix_{table}_deleted_at"
        op.drop_index(name, table)
        op.create_index(name, table, ["deleted_at"], sqlite_where=_ONLY, postgresql_where=_ONLY)


def downgrade() -> None:
    for table in ("jobs", "sweeps"):
        name = f"ix_{table}_deleted_at"
        op.drop_index(name, table)
        op.create_index(name, table, ["deleted_at"])
