"""Personal data under seal, in a table of its own.

What stands in requests in clear from before is sealed by `refundry personal seal`: a migration has
no keys.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.ledger.types import RowId, UtcTime

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

SEALED: dict[str, Any] = {
    "postgresql_where": sa.text("purged_at IS NULL"),
    "sqlite_where": sa.text("purged_at IS NULL"),
}


def upgrade() -> None:
    op.create_table(
        "personal_data",
        sa.Column("refund_id", RowId, autoincrement=False, nullable=False),
        sa.Column("key_id", sa.String(length=12)),
        sa.Column("sealed", sa.Text()),
        sa.Column("digest", sa.String(length=64)),
        sa.Column("kept_at", UtcTime(), nullable=False),
        sa.Column("purged_at", UtcTime()),
        sa.CheckConstraint(
            "CASE WHEN purged_at IS NULL THEN key_id IS NOT NULL AND sealed IS NOT NULL AND digest IS NOT NULL ELSE key_id IS NULL AND sealed IS NULL AND digest IS NULL END",
            name="sealed_or_purged",
        ),
        sa.ForeignKeyConstraint(["refund_id"], ["refunds.id"], name="fk_personal_data_refund_id"),
        sa.PrimaryKeyConstraint("refund_id", name="pk_personal_data"),
    )
    op.create_index("ix_personal_data_kept", "personal_data", ["kept_at"], **SEALED)
    op.create_index("ix_personal_data_key", "personal_data", ["key_id"], **SEALED)
