"""The tables of what comes from outside and goes there: announcements, callbacks, refused jobs."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from worker.ledger.schema import metadata, partial
from worker.ledger.types import Json, RowId, UtcTime

announcements = Table(
    "announcements",
    metadata,
    Column("id", RowId, Identity(always=False), primary_key=True),
    Column("refund_id", ForeignKey("refunds.id")),
    Column("event", String(12), nullable=False),
    Column("target", Json, nullable=False),
    Column("payload", Json, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("due_at", UtcTime, nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("delivered_at", UtcTime),
    partial("ix_announcements_due", "due_at", where="delivered_at IS NULL"),
    partial("ix_announcements_refund", "refund_id", "id", where="delivered_at IS NULL"),
)

callbacks = Table(
    "callbacks",
    metadata,
    Column("id", RowId, Identity(always=False), primary_key=True),
    Column("account", ForeignKey("accounts.name"), nullable=False),
    #: None: rightly signed, about a refund that nobody here has asked for.
    Column("refund_id", ForeignKey("refunds.id")),
    Column("refund_no", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("content_type", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    #: What it showed: a verdict, ``contradicts`` where it is about another order or amount,
    #: ``not_ours`` where nobody here has asked for the refund.
    Column("verdict", String(16), nullable=False),
    Column("stale", Boolean, nullable=False),
    Column("times", BigInteger, nullable=False, server_default="1"),
    Column("first_at", UtcTime, nullable=False),
    Column("last_at", UtcTime, nullable=False),
    UniqueConstraint("account", "digest"),
    Index("ix_callbacks_refund", "refund_id"),
)

#: Callbacks that were not taken are counted; nothing of them is kept.
refused_callbacks = Table(
    "refused_callbacks",
    metadata,
    #: Empty for an account that there is not.
    Column("account", String(64), primary_key=True),
    Column("code", String(64), primary_key=True),
    Column("times", BigInteger, nullable=False, server_default="1"),
    Column("first_at", UtcTime, nullable=False),
    Column("last_at", UtcTime, nullable=False),
)

#: Who may use the gateway: tokens by their digest, and the accounts that each is for.
api_tokens = Table(
    "api_tokens",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("accounts", Json, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("revoked_at", UtcTime),
)

refused_jobs = Table(
    "refused_jobs",
    metadata,
    Column("id", RowId, Identity(always=False), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("task", String(64), nullable=False),
    Column("account", Text),
    Column("refund_no", Text),
    Column("code", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("job", Text, nullable=False),
    Column("times", BigInteger, nullable=False, server_default="1"),
    Column("first_at", UtcTime, nullable=False),
    Column("last_at", UtcTime, nullable=False),
    UniqueConstraint("digest", "code"),
    Index("ix_refused_jobs_last", "last_at"),
    Index("ix_refused_jobs_refund_no", "refund_no"),
)
