"""The tables of people's work: cases, accounts, what was done about them, what two settle."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from worker.case_rules import AccountDeed, Deed
from worker.ledger.schema import metadata, one_of, partial
from worker.ledger.types import Json, RowId, UtcTime

cases = Table(
    "cases",
    metadata,
    Column("id", RowId, Identity(always=False), primary_key=True),
    Column("account", ForeignKey("accounts.name"), nullable=False),
    Column("kind", String(32), nullable=False),
    #: What it is about, for people: the refund's number, the order's, or a statement line's.
    Column("subject", String(128), nullable=False),
    Column("order_id", ForeignKey("orders.id")),
    Column("refund_id", ForeignKey("refunds.id")),
    Column("owner", String(64), nullable=False),
    Column("opened_at", UtcTime, nullable=False),
    #: When it should be closed at the latest.
    Column("due_at", UtcTime, nullable=False),
    Column("closed_at", UtcTime),
    Column("evidence", Json, nullable=False),
    partial("uq_cases_open", "refund_id", "kind", where="closed_at IS NULL", unique=True),
    partial("uq_cases_about", "account", "kind", "subject", where="closed_at IS NULL", unique=True),
    partial("ix_cases_open", "opened_at", where="closed_at IS NULL"),
    Index("ix_cases_refund", "refund_id"),
    Index("ix_cases_order", "order_id"),
)

#: What people, and the processor itself, have done about a case; rows are only added.
case_entries = Table(
    "case_entries",
    metadata,
    Column("id", RowId, Identity(always=False), primary_key=True),
    Column("case_id", ForeignKey("cases.id"), nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("who", String(64), nullable=False),
    Column("what", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Json, nullable=False),
    CheckConstraint(one_of("what", Deed), name="what"),
    CheckConstraint("who <> ''", name="who"),
    Index("ix_case_entries_case", "case_id", "id"),
)

#: What people, and the processor itself, have done about an account; rows are only added, and a
#: trigger lets nobody pause or resume one without a word.
account_entries = Table(
    "account_entries",
    metadata,
    Column("id", RowId, Identity(always=False), primary_key=True),
    Column("account", ForeignKey("accounts.name"), nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("who", String(64), nullable=False),
    Column("what", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Json, nullable=False),
    CheckConstraint(one_of("what", AccountDeed), name="what"),
    CheckConstraint("who <> ''", name="who"),
    Index("ix_account_entries_account", "account", "id"),
)

#: One person's word on what became of a refund, or that it is to be sent (``submitting``). It does
#: nothing before another one approves it.
proposals = Table(
    "proposals",
    metadata,
    Column("id", RowId, Identity(always=False), primary_key=True),
    Column("case_id", ForeignKey("cases.id"), nullable=False),
    Column("refund_id", ForeignKey("refunds.id"), nullable=False),
    #: The state that the refund is to get, or to keep.
    Column("state", String(12), nullable=False),
    #: The refund's last event at that time: what came later is not overruled.
    Column("event_seq", BigInteger, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("proposed_by", String(64), nullable=False),
    Column("proposed_at", UtcTime, nullable=False),
    Column("closed_at", UtcTime),
    Column("withdrawn_by", String(64)),
    UniqueConstraint("id", "proposed_by"),
    CheckConstraint(
        "state IN ('succeeded', 'failed', 'canceled', 'reversed', 'submitting')", name="state"
    ),
    CheckConstraint("evidence <> '' AND proposed_by <> ''", name="evidence"),
    CheckConstraint("withdrawn_by IS NULL OR closed_at IS NOT NULL", name="withdrawn"),
    partial("uq_proposals_open", "refund_id", where="closed_at IS NULL", unique=True),
    Index("ix_proposals_refund", "refund_id"),
)

#: The second person's; workers and the gateway cannot add any.
approvals = Table(
    "approvals",
    metadata,
    Column("proposal_id", RowId, primary_key=True, autoincrement=False),
    Column("proposed_by", String(64), nullable=False),
    Column("approved_by", String(64), nullable=False),
    Column("approved_at", UtcTime, nullable=False),
    Column("reason", Text, nullable=False),
    ForeignKeyConstraint(["proposal_id", "proposed_by"], ["proposals.id", "proposals.proposed_by"]),
    CheckConstraint(
        "lower(trim(approved_by)) <> lower(trim(proposed_by)) AND trim(approved_by) <> ''",
        name="by_another",
    ),
)
