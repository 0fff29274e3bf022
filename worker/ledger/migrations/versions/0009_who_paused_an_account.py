"""Who paused an account, who resumed it, and why; nothing of it without a word."""

import sqlalchemy as sa
from alembic import op

from worker.ledger.migrations.kept_guards import create_account_guards
from worker.ledger.types import Json, RowId, UtcTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

DEEDS = "'paused', 'resumed', 'funded', 'breaker_opened', 'breaker_closed'"


def upgrade() -> None:
    op.create_table(
        "account_entries",
        sa.Column("id", RowId, sa.Identity(always=False), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("who", sa.String(length=64), nullable=False),
        sa.Column("what", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", Json, nullable=False),
        sa.CheckConstraint(f"what IN ({DEEDS})", name="what"),
        sa.CheckConstraint("who <> ''", name="who"),
        sa.ForeignKeyConstraint(["account"], ["accounts.name"], name="fk_account_entries_account"),
        sa.PrimaryKeyConstraint("id", name="pk_account_entries"),
    )
    op.create_index("ix_account_entries_account", "account_entries", ["account", "id"])
    op.execute(
        "INSERT INTO account_entries (account, at, who, what, reason, detail) SELECT name, "
        "paused_at, 'refundry', 'paused', COALESCE(paused_reason, ''), '{}' FROM accounts "
        "WHERE paused_at IS NOT NULL ORDER BY name"
    )
    for statement in create_account_guards(op.get_bind().dialect.name):
        op.execute(statement)
