"""Cases of what has no refund, what people did about them, and settlements by two persons."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.ledger.migrations.case_guards import create_case_guards
from worker.ledger.types import Json, RowId, UtcTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

DEEDS = "'opened', 'noted', 'assigned', 'asked', 'sent', 'released', 'proposed', 'approved', 'withdrawn', 'closed'"
OPEN_CASE: dict[str, Any] = {
    "postgresql_where": sa.text("closed_at IS NULL"),
    "sqlite_where": sa.text("closed_at IS NULL"),
}
HELD: dict[str, Any] = {
    "postgresql_where": sa.text("held_at IS NOT NULL"),
    "sqlite_where": sa.text("held_at IS NOT NULL"),
}


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    op.add_column("orders", sa.Column("held_by", sa.String(length=64)))
    op.create_index("ix_orders_held", "orders", ["held_at"], **HELD)
    op.add_column(
        "refunds",
        sa.Column("needs_approval", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    if dialect == "sqlite":
        _make_cases_anew()
    else:
        _alter_cases()
    about = ["account", "kind", "subject"]
    op.create_index("uq_cases_about", "cases", about, unique=True, **OPEN_CASE)
    op.create_index("ix_cases_refund", "cases", ["refund_id"])
    op.create_index("ix_cases_order", "cases", ["order_id"])
    _create_entries()
    _create_proposals()
    _create_approvals()
    for statement in create_case_guards(dialect):
        op.execute(statement)


def _alter_cases() -> None:
    op.add_column("cases", sa.Column("account", sa.String(length=64)))
    op.add_column("cases", sa.Column("subject", sa.String(length=128)))
    op.add_column("cases", sa.Column("order_id", RowId))
    op.add_column("cases", sa.Column("due_at", UtcTime()))
    op.execute(
        "UPDATE cases SET account = r.account, subject = r.refund_no, order_id = r.order_id, "
        "due_at = opened_at + interval '1 day' FROM refunds r WHERE r.id = cases.refund_id"
    )
    for column in ("account", "subject", "due_at"):
        op.alter_column("cases", column, nullable=False)
    op.alter_column("cases", "refund_id", nullable=True)
    op.create_foreign_key("fk_cases_account", "cases", "accounts", ["account"], ["name"])
    op.create_foreign_key("fk_cases_order_id", "cases", "orders", ["order_id"], ["id"])


def _make_cases_anew() -> None:
    """SQLite alters no column."""
    op.create_table(
        "cases_anew",
        sa.Column("id", RowId, sa.Identity(always=False), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("order_id", RowId),
        sa.Column("refund_id", RowId),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("opened_at", UtcTime(), nullable=False),
        sa.Column("due_at", UtcTime(), nullable=False),
        sa.Column("closed_at", UtcTime()),
        sa.Column("evidence", Json, nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.name"], name="fk_cases_account"),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name="fk_cases_order_id"),
        sa.ForeignKeyConstraint(["refund_id"], ["refunds.id"], name="fk_cases_refund_id"),
        sa.PrimaryKeyConstraint("id", name="pk_cases"),
    )
    op.execute(
        "INSERT INTO cases_anew SELECT c.id, r.account, c.kind, r.refund_no, r.order_id, "
        "c.refund_id, c.owner, c.opened_at, strftime('%Y-%m-%d %H:%M:%f000', c.opened_at, '+1 day'), "
        "c.closed_at, c.evidence FROM cases c JOIN refunds r ON r.id = c.refund_id"
    )
    op.drop_table("cases")
    op.rename_table("cases_anew", "cases")
    op.create_index("ix_cases_open", "cases", ["opened_at"], **OPEN_CASE)
    op.create_index("uq_cases_open", "cases", ["refund_id", "kind"], unique=True, **OPEN_CASE)


def _create_entries() -> None:
    op.create_table(
        "case_entries",
        sa.Column("id", RowId, sa.Identity(always=False), nullable=False),
        sa.Column("case_id", RowId, nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("who", sa.String(length=64), nullable=False),
        sa.Column("what", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", Json, nullable=False),
        sa.CheckConstraint(f"what IN ({DEEDS})", name="what"),
        sa.CheckConstraint("who <> ''", name="who"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_case_entries_case_id"),
        sa.PrimaryKeyConstraint("id", name="pk_case_entries"),
    )
    op.create_index("ix_case_entries_case", "case_entries", ["case_id", "id"])
    op.execute(
        "INSERT INTO case_entries (case_id, at, who, what, reason, detail) "
        "SELECT id, opened_at, 'refundry', 'opened', '', '{}' FROM cases ORDER BY id"
    )


def _create_proposals() -> None:
    op.create_table(
        "proposals",
        sa.Column("id", RowId, sa.Identity(always=False), nullable=False),
        sa.Column("case_id", RowId, nullable=False),
        sa.Column("refund_id", RowId, nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("event_seq", sa.BigInteger(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("proposed_by", sa.String(length=64), nullable=False),
        sa.Column("proposed_at", UtcTime(), nullable=False),
        sa.Column("closed_at", UtcTime()),
        sa.Column("withdrawn_by", sa.String(length=64)),
        sa.CheckConstraint(
            "state IN ('succeeded', 'failed', 'canceled', 'reversed', 'submitting')", name="state"
        ),
        sa.CheckConstraint("evidence <> '' AND proposed_by <> ''", name="evidence"),
        sa.CheckConstraint("withdrawn_by IS NULL OR closed_at IS NOT NULL", name="withdrawn"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_proposals_case_id"),
        sa.ForeignKeyConstraint(["refund_id"], ["refunds.id"], name="fk_proposals_refund_id"),
        sa.PrimaryKeyConstraint("id", name="pk_proposals"),
        sa.UniqueConstraint("id", "proposed_by", name="uq_proposals_id_proposed_by"),
    )
    op.create_index("ix_proposals_refund", "proposals", ["refund_id"])
    op.create_index("uq_proposals_open", "proposals", ["refund_id"], unique=True, **OPEN_CASE)


def _create_approvals() -> None:
    op.create_table(
        "approvals",
        sa.Column("proposal_id", RowId, autoincrement=False, nullable=False),
        sa.Column("proposed_by", sa.String(length=64), nullable=False),
        sa.Column("approved_by", sa.String(length=64), nullable=False),
        sa.Column("approved_at", UtcTime(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "lower(trim(approved_by)) <> lower(trim(proposed_by)) AND trim(approved_by) <> ''",
            name="by_another",
        ),
        sa.ForeignKeyConstraint(
            ["proposal_id", "proposed_by"],
            ["proposals.id", "proposals.proposed_by"],
            name="fk_approvals_proposal_id_proposed_by",
        ),
        sa.PrimaryKeyConstraint("proposal_id", name="pk_approvals"),
    )
