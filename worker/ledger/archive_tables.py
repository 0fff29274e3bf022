"""The tables of the archive: rows as they stood in the ledger, a digest of every lot of them."""

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, String, Table, Text

from worker.ledger.schema import metadata
from worker.ledger.types import Json, UtcTime

archived_events = Table(
    "archived_events",
    metadata,
    Column("refund_id", ForeignKey("refunds.id"), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("state", String(12), nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("detail", Json, nullable=False),
)

archived_attempts = Table(
    "archived_attempts",
    metadata,
    Column("refund_id", ForeignKey("refunds.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("status", String(12), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("lease_until", UtcTime, nullable=False),
    Column("finished_at", UtcTime),
    Column("code", String(64), nullable=False),
    Column("message", Text, nullable=False),
    Column("request", Text),
    Column("answer", Text),
)

#: A lot of a refund: its events up to one, and its attempts, which no earlier lot has.
archives = Table(
    "archives",
    metadata,
    Column("refund_id", ForeignKey("refunds.id"), primary_key=True),
    Column("last_seq", BigInteger, primary_key=True, autoincrement=False),
    Column("last_attempt", Integer, nullable=False),
    #: Of the lot, and of the digest of the lot before it.
    Column("digest", String(64), nullable=False),
    Column("archived_at", UtcTime, nullable=False),
)
