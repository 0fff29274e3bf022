"""Imports: files of refunds, and what became of each of their rows."""

import sqlalchemy as sa
from alembic import op

from worker.ledger.types import Json, RowId, UtcTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_imports()
    _create_import_rows()


def _create_imports() -> None:
    op.create_table(
        "imports",
        sa.Column("id", RowId, sa.Identity(always=False), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("account", sa.String(length=64)),
        sa.Column("unit", sa.String(length=4), nullable=False),
        sa.Column("budget", sa.BigInteger()),
        sa.Column("spent", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("canary", sa.Integer(), nullable=False),
        sa.Column("canary_passed", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("row_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("state_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_imports"),
        sa.UniqueConstraint("digest", name="uq_imports_digest"),
        sa.CheckConstraint(
            "state IN ('loading', 'running', 'paused', 'canceled', 'done')", name="ck_imports_state"
        ),
        sa.CheckConstraint("unit IN ('fen', 'yuan')", name="ck_imports_unit"),
        sa.CheckConstraint(
            "spent >= 0 AND (budget IS NULL OR spent <= budget)", name="ck_imports_within_budget"
        ),
    )


def _create_import_rows() -> None:
    op.create_table(
        "import_rows",
        sa.Column("import_id", RowId, nullable=False),
        sa.Column("row_no", sa.Integer(), nullable=False),
        sa.Column("job", Json),
        sa.Column("account", sa.String(length=64)),
        sa.Column("merchant", sa.String(length=200)),
        sa.Column("order_no", sa.String(length=64)),
        sa.Column("refund_no", sa.String(length=64)),
        sa.Column("amount", sa.BigInteger()),
        sa.Column("verdict", sa.String(length=12), nullable=False),
        sa.Column("code", sa.String(length=64), server_default="", nullable=False),
        sa.Column("said", sa.Text(), server_default="", nullable=False),
        sa.Column("refund_id", RowId),
        sa.Column("at", UtcTime()),
        sa.PrimaryKeyConstraint("import_id", "row_no", name="pk_import_rows"),
        sa.ForeignKeyConstraint(["import_id"], ["imports.id"], name="fk_import_rows_import_id"),
        sa.ForeignKeyConstraint(["refund_id"], ["refunds.id"], name="fk_import_rows_refund_id"),
        sa.CheckConstraint(
            "verdict IN ('waiting', 'accepted', 'repeated', 'refused', 'canceled')",
            name="ck_import_rows_verdict",
        ),
        sa.CheckConstraint(
            "refund_id IS NULL OR verdict IN ('accepted', 'repeated')", name="ck_import_rows_refund"
        ),
    )
    waiting = sa.text("verdict = 'waiting'")
    op.create_index(
        "ix_import_rows_waiting",
        "import_rows",
        ["import_id", "row_no"],
        postgresql_where=waiting,
        sqlite_where=waiting,
    )
    op.create_index("ix_import_rows_number", "import_rows", ["import_id", "merchant", "refund_no"])
