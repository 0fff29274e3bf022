"""The table of what producers say of persons, sealed: only what sends a refund opens it."""

from typing import Final

from sqlalchemy import CheckConstraint, Column, ForeignKey, String, Table, Text

from worker.ledger.schema import metadata, partial
from worker.ledger.types import UtcTime

_SEALED: Final = "purged_at IS NULL"

personal_data = Table(
    "personal_data",
    metadata,
    Column("refund_id", ForeignKey("refunds.id"), primary_key=True),
    #: Which key it is sealed with.
    Column("key_id", String(12)),
    Column("sealed", Text),
    #: Keyed: what the same data is known by again.
    Column("digest", String(64)),
    #: When its refund was accepted.
    Column("kept_at", UtcTime, nullable=False),
    Column("purged_at", UtcTime),
    CheckConstraint(
        "CASE WHEN purged_at IS NULL"
        " THEN key_id IS NOT NULL AND sealed IS NOT NULL AND digest IS NOT NULL"
        " ELSE key_id IS NULL AND sealed IS NULL AND digest IS NULL END",
        name="sealed_or_purged",
    ),
    partial("ix_personal_data_kept", "kept_at", where=_SEALED),
    partial("ix_personal_data_key", "key_id", where=_SEALED),
)
