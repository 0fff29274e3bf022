"""Reconciliation: bills and their lines, what differs, and the runs."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.ledger.types import Json, RowId, UtcTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_statements()
    _create_lines()
    _create_runs()
    _create_differences()
    _create_partial("ix_refunds_final", "refunds", ["account", "state_at"], FINAL)
    numbered = "provider_refund_no IS NOT NULL"
    _create_partial(
        "ix_refunds_provider_no", "refunds", ["merchant", "provider_refund_no"], numbered
    )


FINAL = "state IN ('succeeded', 'failed')"
UNDONE = "result IN ('new', 'unnumbered', 'linked', 'waiting')"


def _create_partial(name: str, table: str, columns: list[str], where: str, **options: Any) -> None:
    condition = sa.text(where)
    op.create_index(
        name, table, columns, postgresql_where=condition, sqlite_where=condition, **options
    )


def _create_statements() -> None:
    op.create_table(
        "statements",
        sa.Column("id", RowId, sa.Identity(always=False), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("layout", sa.String(length=64), nullable=False),
        sa.Column("covers_from", UtcTime(), nullable=False),
        sa.Column("covers_until", UtcTime(), nullable=False),
        sa.Column("lines", sa.BigInteger(), nullable=False),
        sa.Column("paid", sa.BigInteger(), nullable=False),
        sa.Column("skipped", sa.BigInteger(), nullable=False),
        sa.Column("begun_at", UtcTime(), nullable=False),
        sa.Column("whole_at", UtcTime()),
        sa.Column("completed_at", UtcTime()),
        sa.Column("results", Json, nullable=False),
        sa.CheckConstraint("covers_from < covers_until", name="covers"),
        sa.CheckConstraint("lines >= 0 AND paid >= 0 AND skipped >= 0", name="counted"),
        sa.ForeignKeyConstraint(["account"], ["accounts.name"], name="fk_statements_account"),
        sa.PrimaryKeyConstraint("id", name="pk_statements"),
        sa.UniqueConstraint("account", "digest", name="uq_statements_account_digest"),
    )


def _create_lines() -> None:
    op.create_table(
        "statement_lines",
        sa.Column("statement_id", RowId, autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("refund_no", sa.String(length=128), nullable=False),
        sa.Column("provider_refund_no", sa.String(length=128), nullable=False),
        sa.Column("order_no", sa.String(length=128), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Date()),
        sa.Column("succeeded", sa.Boolean(), nullable=False),
        sa.Column("result", sa.String(length=32), nullable=False),
        sa.Column("refund_id", RowId),
        sa.Column("result_at", UtcTime()),
        sa.CheckConstraint("amount > 0", name="amount"),
        sa.ForeignKeyConstraint(
            ["statement_id"], ["statements.id"], name="fk_statement_lines_statement_id"
        ),
        sa.ForeignKeyConstraint(["refund_id"], ["refunds.id"], name="fk_statement_lines_refund_id"),
        sa.PrimaryKeyConstraint("statement_id", "number", name="pk_statement_lines"),
    )
    _create_partial(
        "ix_statement_lines_undone",
        "statement_lines",
        ["statement_id", "result", "number"],
        UNDONE,
    )
    _create_partial(
        "ix_statement_lines_refund", "statement_lines", ["refund_id"], "refund_id IS NOT NULL"
    )


def _create_runs() -> None:
    op.create_table(
        "reconciliations",
        sa.Column("id", RowId, sa.Identity(always=False), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("since", UtcTime(), nullable=False),
        sa.Column("until", UtcTime(), nullable=False),
        sa.Column("order_id", RowId),
        sa.Column("begun_by", sa.String(length=8), nullable=False),
        sa.Column("began_at", UtcTime(), nullable=False),
        sa.Column("ended_at", UtcTime()),
        sa.Column("phase", sa.String(length=16), nullable=False),
        sa.Column("phase_at", UtcTime(), nullable=False),
        sa.Column("reached", sa.BigInteger(), nullable=False),
        sa.Column("reached_at", UtcTime(), nullable=False),
        sa.Column("claimed_until", UtcTime()),
        sa.Column("counts", Json, nullable=False),
        sa.CheckConstraint("since < until", name="window"),
        sa.ForeignKeyConstraint(["account"], ["accounts.name"], name="fk_reconciliations_account"),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name="fk_reconciliations_order_id"),
        sa.PrimaryKeyConstraint("id", name="pk_reconciliations"),
    )
    _create_partial(
        "uq_reconciliations_daily",
        "reconciliations",
        ["account", "since"],
        "begun_by = 'beat'",
        unique=True,
    )
    _create_partial(
        "ix_reconciliations_open", "reconciliations", ["account", "id"], "ended_at IS NULL"
    )


def _create_differences() -> None:
    op.create_table(
        "differences",
        sa.Column("id", RowId, sa.Identity(always=False), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("merchant", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("refund_id", RowId),
        sa.Column("statement_id", RowId),
        sa.Column("line", sa.BigInteger()),
        sa.Column("run_id", RowId),
        sa.Column("case_id", RowId, nullable=False),
        sa.Column("found_at", UtcTime(), nullable=False),
        sa.Column("explained_at", UtcTime()),
        sa.ForeignKeyConstraint(["account"], ["accounts.name"], name="fk_differences_account"),
        sa.ForeignKeyConstraint(["refund_id"], ["refunds.id"], name="fk_differences_refund_id"),
        sa.ForeignKeyConstraint(["run_id"], ["reconciliations.id"], name="fk_differences_run_id"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_differences_case_id"),
        sa.ForeignKeyConstraint(
            ["statement_id", "line"],
            ["statement_lines.statement_id", "statement_lines.number"],
            name="fk_differences_line",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_differences"),
        sa.UniqueConstraint("merchant", "digest", name="uq_differences_merchant_digest"),
    )
    _create_partial(
        "ix_differences_refund",
        "differences",
        ["refund_id"],
        "refund_id IS NOT NULL AND explained_at IS NULL",
    )
    _create_partial(
        "ix_differences_line",
        "differences",
        ["statement_id", "line"],
        "statement_id IS NOT NULL",
    )
    op.create_index("ix_differences_found", "differences", ["account", "found_at"])
