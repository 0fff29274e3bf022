"""The first ledger."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.ledger.migrations.guards import create_guards
from worker.ledger.types import Json, RowId, UtcTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

#: Every legal change of a refund's state.
LEGAL = (
    ("queued", "submitting"),
    ("queued", "canceled"),
    ("queued", "succeeded"),
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

#: A refund's row and its last event say the same state, checked at commit (I7).
LAST_EVENT = {
    "columns": ["id", "event_seq", "state"],
    "refcolumns": ["events.refund_id", "events.seq", "events.state"],
}


def upgrade() -> None:
    _create_accounts()
    _create_orders()
    _create_refused_jobs()
    _create_refunds()
    _create_announcements()
    _create_attempts()
    _create_cases()
    _create_events()
    dialect = op.get_bind().dialect.name
    if dialect == "postgresql":
        _add_last_event()
    for statement in create_guards(dialect, LEGAL):
        op.execute(statement)


def _where(condition: str) -> dict[str, Any]:
    return {"postgresql_where": sa.text(condition), "sqlite_where": sa.text(condition)}


def _last_event(dialect: str) -> list[sa.ForeignKeyConstraint]:
    """SQLite adds no constraint later and minds no table that is not there yet."""
    if op.get_bind().dialect.name != dialect:
        return []
    return [
        sa.ForeignKeyConstraint(
            LAST_EVENT["columns"],
            LAST_EVENT["refcolumns"],
            name="fk_refunds_last_event",
            initially="DEFERRED",
            deferrable=True,
        )
    ]


def _add_last_event() -> None:
    op.create_foreign_key(
        "fk_refunds_last_event",
        "refunds",
        "events",
        LAST_EVENT["columns"],
        [column.partition(".")[2] for column in LAST_EVENT["refcolumns"]],
        initially="DEFERRED",
        deferrable=True,
    )


def _create_accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("merchant", sa.String(length=200), nullable=False),
        sa.Column("paused_at", UtcTime()),
        sa.Column("paused_reason", sa.Text()),
        sa.PrimaryKeyConstraint("name", name="pk_accounts"),
    )


def _create_orders() -> None:
    op.create_table(
        "orders",
        sa.Column("id", RowId, sa.Identity(always=False), nullable=False),
        sa.Column("merchant", sa.String(length=200), nullable=False),
        sa.Column("order_no", sa.String(length=64), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("order_amount", sa.BigInteger(), nullable=False),
        sa.Column("paid_amount", sa.BigInteger(), nullable=False),
        sa.Column("paid_stated", sa.Boolean(), nullable=False),
        sa.Column("refunded_before", sa.BigInteger(), nullable=False),
        sa.Column("before_stated", sa.Boolean(), nullable=False),
        sa.Column("reserved", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("refunded", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("excess", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("paid_at", UtcTime()),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("wake_at", UtcTime()),
        sa.Column("spaced_until", UtcTime()),
        sa.Column("frozen_at", UtcTime()),
        sa.Column("hold_token", sa.String(length=64)),
        sa.Column("held_at", UtcTime()),
        sa.CheckConstraint("(hold_token IS NULL) = (held_at IS NULL)", name="hold_is_whole"),
        sa.CheckConstraint("paid_amount <= order_amount", name="paid_within_total"),
        sa.CheckConstraint(
            "paid_amount > 0 AND refunded_before >= 0 AND reserved >= 0 AND refunded >= 0 AND excess >= 0",
            name="no_negative",
        ),
        sa.CheckConstraint("refunded_before + refunded + reserved <= paid_amount", name="not_over"),
        sa.PrimaryKeyConstraint("id", name="pk_orders"),
        sa.UniqueConstraint("merchant", "order_no", name="uq_orders_merchant_order_no"),
    )
    op.create_index("ix_orders_wake", "orders", ["wake_at"], **_where("wake_at IS NOT NULL"))


def _create_refused_jobs() -> None:
    op.create_table(
        "refused_jobs",
        sa.Column("id", RowId, sa.Identity(always=False), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("task", sa.String(length=64), nullable=False),
        sa.Column("account", sa.Text()),
        sa.Column("refund_no", sa.Text()),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("times", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("first_at", UtcTime(), nullable=False),
        sa.Column("last_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_refused_jobs"),
        sa.UniqueConstraint("digest", "code", name="uq_refused_jobs_digest_code"),
    )
    op.create_index("ix_refused_jobs_last", "refused_jobs", ["last_at"])
    op.create_index("ix_refused_jobs_refund_no", "refused_jobs", ["refund_no"])


def _create_refunds() -> None:
    op.create_table(
        "refunds",
        sa.Column("id", RowId, sa.Identity(always=False), nullable=False),
        sa.Column("order_id", RowId, nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("merchant", sa.String(length=200), nullable=False),
        sa.Column("refund_no", sa.String(length=64), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("holds_order", sa.Boolean(), nullable=False),
        sa.Column("releases", sa.Boolean(), nullable=False),
        sa.Column("event_seq", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("sent", sa.Integer(), nullable=False),
        sa.Column("open_sent", sa.Integer(), nullable=False),
        sa.Column("known", sa.Boolean(), nullable=False),
        sa.Column("not_found", sa.Integer(), nullable=False),
        sa.Column("not_found_since", UtcTime()),
        sa.Column("contested_reserved", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("contested_excess", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("provider_refund_no", sa.String(length=128)),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("request", Json, nullable=False),
        sa.Column("announce", Json),
        sa.Column("accepted_at", UtcTime(), nullable=False),
        sa.Column("state_at", UtcTime(), nullable=False),
        sa.Column("due_at", UtcTime()),
        sa.Column("case_at", UtcTime()),
        sa.Column("asked", sa.Integer(), server_default="0", nullable=False),
        sa.Column("asked_at", UtcTime()),
        sa.Column("last_answer", sa.Text()),
        sa.CheckConstraint(
            "CASE WHEN state IN ('submitting', 'unknown', 'pending') THEN open_sent > 0 WHEN state IN ('failed', 'canceled') THEN open_sent = 0 ELSE open_sent >= 0 END",
            name="sent_as_the_state_says",
        ),
        sa.CheckConstraint(
            "CASE state WHEN 'queued' THEN holds_order = (open_sent > 0) WHEN 'submitting' THEN holds_order WHEN 'unknown' THEN holds_order WHEN 'pending' THEN holds_order = (NOT releases) ELSE NOT holds_order END",
            name="holds_as_the_state_says",
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'submitting', 'unknown', 'pending', 'succeeded', 'failed', 'canceled', 'reversed')",
            name="state",
        ),
        sa.CheckConstraint(
            "0 <= open_sent AND open_sent <= sent AND sent <= attempt",
            name="attempts_counted",
        ),
        sa.CheckConstraint("amount > 0", name="amount"),
        sa.CheckConstraint(
            "contested_reserved >= 0 AND contested_excess >= 0 AND contested_reserved + contested_excess <= amount",
            name="contested_within_amount",
        ),
        sa.ForeignKeyConstraint(["account"], ["accounts.name"], name="fk_refunds_account"),
        *_last_event("sqlite"),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name="fk_refunds_order_id"),
        sa.PrimaryKeyConstraint("id", name="pk_refunds"),
        sa.UniqueConstraint("merchant", "refund_no", name="uq_refunds_merchant_refund_no"),
    )
    op.create_index("ix_refunds_case", "refunds", ["case_at"], **_where("case_at IS NOT NULL"))
    op.create_index(
        "ix_refunds_due",
        "refunds",
        ["account", "due_at"],
        **_where("due_at IS NOT NULL AND state IN ('unknown', 'pending', 'failed', 'succeeded')"),
    )
    op.create_index(
        "ix_refunds_open_on_order",
        "refunds",
        ["order_id", "holds_order", "id"],
        **_where("holds_order OR state = 'queued'"),
    )
    op.create_index("ix_refunds_order", "refunds", ["order_id"])
    op.create_index("ix_refunds_refund_no", "refunds", ["refund_no"])
    op.create_index("ix_refunds_state", "refunds", ["state", "id"])
    op.create_index(
        "uq_refunds_holds_order", "refunds", ["order_id"], unique=True, **_where("holds_order")
    )


def _create_announcements() -> None:
    op.create_table(
        "announcements",
        sa.Column("id", RowId, sa.Identity(always=False), nullable=False),
        sa.Column("refund_id", RowId),
        sa.Column("event", sa.String(length=12), nullable=False),
        sa.Column("target", Json, nullable=False),
        sa.Column("payload", Json, nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("due_at", UtcTime(), nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("delivered_at", UtcTime()),
        sa.ForeignKeyConstraint(["refund_id"], ["refunds.id"], name="fk_announcements_refund_id"),
        sa.PrimaryKeyConstraint("id", name="pk_announcements"),
    )
    op.create_index(
        "ix_announcements_due", "announcements", ["due_at"], **_where("delivered_at IS NULL")
    )
    op.create_index(
        "ix_announcements_refund",
        "announcements",
        ["refund_id", "id"],
        **_where("delivered_at IS NULL"),
    )


def _create_attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("refund_id", RowId, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("started_at", UtcTime(), nullable=False),
        sa.Column("lease_until", UtcTime(), nullable=False),
        sa.Column("finished_at", UtcTime()),
        sa.Column("code", sa.String(length=64), server_default="", nullable=False),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.CheckConstraint(
            "status IN ('started', 'never_sent', 'busy', 'rejected', 'unknown', 'pending', 'succeeded')",
            name="status",
        ),
        sa.CheckConstraint("number > 0", name="number"),
        sa.ForeignKeyConstraint(["refund_id"], ["refunds.id"], name="fk_attempts_refund_id"),
        sa.PrimaryKeyConstraint("refund_id", "number", name="pk_attempts"),
    )
    op.create_index(
        "ix_attempts_lease", "attempts", ["lease_until"], **_where("status = 'started'")
    )
    op.create_index(
        "uq_attempts_live", "attempts", ["refund_id"], unique=True, **_where("status = 'started'")
    )


def _create_cases() -> None:
    op.create_table(
        "cases",
        sa.Column("id", RowId, sa.Identity(always=False), nullable=False),
        sa.Column("refund_id", RowId, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("opened_at", UtcTime(), nullable=False),
        sa.Column("closed_at", UtcTime()),
        sa.Column("evidence", Json, nullable=False),
        sa.ForeignKeyConstraint(["refund_id"], ["refunds.id"], name="fk_cases_refund_id"),
        sa.PrimaryKeyConstraint("id", name="pk_cases"),
    )
    op.create_index("ix_cases_open", "cases", ["opened_at"], **_where("closed_at IS NULL"))
    op.create_index(
        "uq_cases_open", "cases", ["refund_id", "kind"], unique=True, **_where("closed_at IS NULL")
    )


def _create_events() -> None:
    op.create_table(
        "events",
        sa.Column("refund_id", RowId, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("detail", Json, nullable=False),
        sa.CheckConstraint(
            "state IN ('queued', 'submitting', 'unknown', 'pending', 'succeeded', 'failed', 'canceled', 'reversed')",
            name="state",
        ),
        sa.CheckConstraint("seq > 0", name="seq"),
        sa.ForeignKeyConstraint(["refund_id"], ["refunds.id"], name="fk_events_refund_id"),
        sa.PrimaryKeyConstraint("refund_id", "seq", "state", name="pk_events"),
    )
