"""The tables and the constraints in them; triggers are in the migrations.

Amounts are integer fen, times are UTC. What must always hold (I2, I3, I7, the uniqueness of
numbers) is written here, so that no fault in the code above can break it.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

from refundry import State
from worker.ledger.archive_tables import archived_attempts, archived_events, archives
from worker.ledger.case_tables import (
    account_entries,
    approvals,
    case_entries,
    cases,
    proposals,
)
from worker.ledger.import_tables import import_rows, imports
from worker.ledger.outside_tables import (
    announcements,
    api_tokens,
    callbacks,
    refused_callbacks,
    refused_jobs,
)
from worker.ledger.personal_tables import personal_data
from worker.ledger.schema import metadata, one_of, partial
from worker.ledger.statement_tables import (
    differences,
    reconciliations,
    statement_lines,
    statements,
)
from worker.ledger.types import Fen, Json, RowId, UtcTime
from worker.refund import ASKED_ABOUT, CANCELED, FAILED, REVERSED, SUCCEEDED, Attempt

__all__ = [
    "account_entries",
    "accounts",
    "announcements",
    "api_tokens",
    "approvals",
    "archived_attempts",
    "archived_events",
    "archives",
    "attempts",
    "callbacks",
    "case_entries",
    "cases",
    "differences",
    "events",
    "import_rows",
    "imports",
    "metadata",
    "orders",
    "personal_data",
    "proposals",
    "reconciliations",
    "refunds",
    "refused_callbacks",
    "refused_jobs",
    "statement_lines",
    "statements",
]


#: What the holder of an order, or the oldest that waits for it, looks like.
OPEN_ON_ORDER: Final = "holds_order OR state = 'queued'"
#: Whom polling may ask about.
ASKABLE: Final = f"due_at IS NOT NULL AND {one_of('state', ASKED_ABOUT)}"
#: What reconciliation asks about again, and what a bill should have.
SETTLED: Final = "state IN ('succeeded', 'failed')"


def unarchived(of: str = "") -> str:
    """What could be archived and is not yet; the event that a refund's row stands on never is.

    ``of`` stands before each column's name.
    """
    final = one_of(f"{of}state", (SUCCEEDED, FAILED, CANCELED, REVERSED))
    return f"{final} AND {of}archived_seq < {of}event_seq - 1"


_HOLDS_AS_THE_STATE_SAYS = (
    "CASE state WHEN 'queued' THEN holds_order = (open_sent > 0)"
    " WHEN 'submitting' THEN holds_order WHEN 'unknown' THEN holds_order"
    " WHEN 'pending' THEN holds_order = (NOT releases)"
    " ELSE NOT holds_order END"
)
_SENT_AS_THE_STATE_SAYS = (
    "CASE WHEN state IN ('submitting', 'unknown', 'pending') THEN open_sent > 0"
    " WHEN state IN ('failed', 'canceled') THEN open_sent = 0 ELSE open_sent >= 0 END"
)

accounts = Table(
    "accounts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("provider", String(64), nullable=False),
    Column("merchant", String(200), nullable=False),
    Column("paused_at", UtcTime),
    Column("paused_reason", Text),
    #: Calls in a row without a trustworthy answer; the breaker is open until ``breaker_until``.
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("breaker_until", UtcTime),
    #: The ledger was restored: what was not cleared since then is asked about before it is sent.
    Column("query_first_since", UtcTime),
    Column("query_first_reason", Text),
)

orders = Table(
    "orders",
    metadata,
    Column("id", RowId, Identity(always=False), primary_key=True),
    Column("merchant", String(200), nullable=False),
    Column("order_no", String(64), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("order_amount", Fen, nullable=False),
    Column("paid_amount", Fen, nullable=False),
    Column("paid_stated", Boolean, nullable=False),
    Column("refunded_before", Fen, nullable=False),
    Column("before_stated", Boolean, nullable=False),
    Column("reserved", Fen, nullable=False, server_default="0"),
    Column("refunded", Fen, nullable=False, server_default="0"),
    Column("excess", Fen, nullable=False, server_default="0"),
    Column("marketing_reserved", Fen, nullable=False, server_default="0"),
    Column("marketing_refunded", Fen, nullable=False, server_default="0"),
    Column("paid_at", UtcTime),
    Column("created_at", UtcTime, nullable=False),
    Column("wake_at", UtcTime),
    Column("spaced_until", UtcTime),
    Column("frozen_at", UtcTime),
    Column("hold_token", String(64)),
    Column("held_at", UtcTime),
    Column("held_by", String(64)),
    #: What the provider said last of the whole order.
    Column("provider_refunded", Fen),
    Column("provider_left", Fen),
    Column("figures_at", UtcTime),
    UniqueConstraint("merchant", "order_no"),
    CheckConstraint("refunded_before + refunded + reserved <= paid_amount", name="not_over"),
    CheckConstraint(
        "refunded_before + refunded + reserved + marketing_refunded + marketing_reserved"
        " <= order_amount",
        name="not_over_total",
    ),
    CheckConstraint(
        "marketing_reserved >= 0 AND marketing_refunded >= 0", name="no_negative_marketing"
    ),
    CheckConstraint("paid_amount <= order_amount", name="paid_within_total"),
    CheckConstraint(
        "paid_amount > 0 AND refunded_before >= 0 AND reserved >= 0 AND refunded >= 0"
        " AND excess >= 0",
        name="no_negative",
    ),
    CheckConstraint("(hold_token IS NULL) = (held_at IS NULL)", name="hold_is_whole"),
    partial("ix_orders_wake", "wake_at", where="wake_at IS NOT NULL"),
    partial("ix_orders_held", "held_at", where="held_at IS NOT NULL"),
)

refunds = Table(
    "refunds",
    metadata,
    Column("id", RowId, Identity(always=False), primary_key=True),
    Column("order_id", ForeignKey("orders.id"), nullable=False),
    Column("account", ForeignKey("accounts.name"), nullable=False),
    Column("merchant", String(200), nullable=False),
    Column("refund_no", String(64), nullable=False),
    Column("amount", Fen, nullable=False),
    Column("state", String(12), nullable=False),
    Column("holds_order", Boolean, nullable=False),
    Column("releases", Boolean, nullable=False),
    Column("event_seq", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("sent", Integer, nullable=False),
    Column("open_sent", Integer, nullable=False),
    Column("known", Boolean, nullable=False),
    Column("not_found", Integer, nullable=False),
    Column("not_found_since", UtcTime),
    Column("contested_reserved", Fen, nullable=False, server_default="0"),
    Column("contested_excess", Fen, nullable=False, server_default="0"),
    Column("marketing_amount", Fen, nullable=False, server_default="0"),
    Column("contested_marketing", Fen, nullable=False, server_default="0"),
    Column("provider_refund_no", String(128)),
    Column("reason", Text, nullable=False, server_default=""),
    Column("fingerprint", String(64), nullable=False),
    Column("request", Json, nullable=False),
    Column("announce", Json),
    Column("accepted_at", UtcTime, nullable=False),
    Column("state_at", UtcTime, nullable=False),
    Column("due_at", UtcTime),
    Column("case_at", UtcTime),
    Column("asked", Integer, nullable=False, server_default="0"),
    Column("asked_at", UtcTime),
    Column("last_answer", Text),
    #: What a restored ledger may have lost of it was known then.
    Column("cleared_at", UtcTime),
    #: It is not sent before a second person has approved it.
    Column("needs_approval", Boolean, nullable=False, server_default=false()),
    #: The archive has its events up to this one.
    Column("archived_seq", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("merchant", "refund_no"),
    ForeignKeyConstraint(
        ["id", "event_seq", "state"],
        ["events.refund_id", "events.seq", "events.state"],
        name="fk_refunds_last_event",
        deferrable=True,
        initially="DEFERRED",
        use_alter=True,
    ),
    CheckConstraint("amount > 0", name="amount"),
    CheckConstraint(one_of("state", State), name="state"),
    CheckConstraint(_HOLDS_AS_THE_STATE_SAYS, name="holds_as_the_state_says"),
    CheckConstraint(_SENT_AS_THE_STATE_SAYS, name="sent_as_the_state_says"),
    CheckConstraint(
        "0 <= open_sent AND open_sent <= sent AND sent <= attempt", name="attempts_counted"
    ),
    CheckConstraint(
        "contested_reserved >= 0 AND contested_excess >= 0"
        " AND contested_reserved + contested_excess <= amount",
        name="contested_within_amount",
    ),
    CheckConstraint(
        "marketing_amount >= 0 AND marketing_amount < amount"
        " AND contested_marketing >= 0 AND contested_marketing <= marketing_amount"
        " AND contested_reserved + contested_excess + contested_marketing <= amount",
        name="marketing_within_amount",
    ),
    partial("uq_refunds_holds_order", "order_id", where="holds_order", unique=True),
    partial("ix_refunds_open_on_order", "order_id", "holds_order", "id", where=OPEN_ON_ORDER),
    partial("ix_refunds_due", "account", "due_at", where=ASKABLE),
    partial("ix_refunds_case", "case_at", where="case_at IS NOT NULL"),
    partial(
        "ix_refunds_provider_no",
        "merchant",
        "provider_refund_no",
        where="provider_refund_no IS NOT NULL",
    ),
    partial("ix_refunds_final", "account", "state_at", where=SETTLED),
    partial("ix_refunds_unarchived", "state_at", where=unarchived()),
    Index("ix_refunds_order", "order_id"),
    Index("ix_refunds_refund_no", "refund_no"),
    Index("ix_refunds_state", "state", "id"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("refund_id", ForeignKey("refunds.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("status", String(12), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("lease_until", UtcTime, nullable=False),
    Column("finished_at", UtcTime),
    Column("code", String(64), nullable=False, server_default=""),
    Column("message", Text, nullable=False, server_default=""),
    #: What was sent and what came back, masked; a trigger keeps them as they were written first.
    Column("request", Text),
    Column("answer", Text),
    CheckConstraint("number > 0", name="number"),
    CheckConstraint(one_of("status", Attempt), name="status"),
    partial("uq_attempts_live", "refund_id", where="status = 'started'", unique=True),
    partial("ix_attempts_lease", "lease_until", where="status = 'started'"),
)

events = Table(
    "events",
    metadata,
    Column("refund_id", ForeignKey("refunds.id"), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("state", String(12), primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("detail", Json, nullable=False),
    CheckConstraint(one_of("state", State), name="state"),
    CheckConstraint("seq > 0", name="seq"),
)
