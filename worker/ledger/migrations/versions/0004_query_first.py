"""After a restore: what may have been lost is asked about before anything is sent."""

import sqlalchemy as sa
from alembic import op

from worker.ledger.migrations.guards import replace_transition_guard
from worker.ledger.types import UtcTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

#: As in 0001, and a queued refund of which a lost attempt was declined has failed.
LEGAL = (
    ("queued", "submitting"),
    ("queued", "canceled"),
    ("queued", "succeeded"),
    ("queued", "failed"),
    ("submitting", "pending"),
    ("submitting", "unknown"),
    ("submitting", "succeeded"),
    ("submitting", "failed"),
    ("submitting", "queued"),
    ("unknown", "pending"),
    ("unknown", "succeeded"),
    ("unknown", "failed"),
    ("unknown", "queued"),
    ("pending", "succeeded"),
    ("pending", "failed"),
    ("pending", "unknown"),
    ("failed", "queued"),
    ("failed", "succeeded"),
    ("succeeded", "reversed"),
)


def upgrade() -> None:
    op.add_column("accounts", sa.Column("query_first_since", UtcTime()))
    op.add_column("accounts", sa.Column("query_first_reason", sa.Text()))
    op.add_column("refunds", sa.Column("cleared_at", UtcTime()))
    for statement in replace_transition_guard(op.get_bind().dialect.name, LEGAL):
        op.execute(statement)
