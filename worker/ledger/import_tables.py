"""The tables of imports: files of refunds, and what became of each of their rows."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    String,
    Table,
    Text,
)

from worker.importing.words import WITH_REFUND, ImportState, RowVerdict, Unit
from worker.ledger.schema import metadata, one_of, partial
from worker.ledger.types import Fen, Json, RowId, UtcTime

imports = Table(
    "imports",
    metadata,
    Column("id", RowId, Identity(always=False), primary_key=True),
    #: SHA-256 of the file: the same file is the same import.
    Column("digest", String(64), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("account", String(64)),
    Column("unit", String(4), nullable=False),
    Column("budget", Fen),
    #: What the rows that were accepted come to.
    Column("spent", Fen, nullable=False, server_default="0"),
    Column("canary", Integer, nullable=False),
    #: The canary has succeeded, or a person goes on without it.
    Column("canary_passed", Boolean, nullable=False),
    Column("state", String(12), nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("row_count", Integer, nullable=False, server_default="0"),
    Column("created_at", UtcTime, nullable=False),
    Column("state_at", UtcTime, nullable=False),
    CheckConstraint(one_of("state", ImportState), name="state"),
    CheckConstraint(one_of("unit", Unit), name="unit"),
    CheckConstraint("spent >= 0 AND (budget IS NULL OR spent <= budget)", name="within_budget"),
)

import_rows = Table(
    "import_rows",
    metadata,
    Column("import_id", ForeignKey("imports.id"), primary_key=True),
    #: As the file's own program counts them; the header is the first.
    Column("row_no", Integer, primary_key=True),
    #: What it asks for; NULL where that could not be read.
    Column("job", Json),
    Column("account", String(64)),
    Column("merchant", String(200)),
    Column("order_no", String(64)),
    Column("refund_no", String(64)),
    Column("amount", Fen),
    Column("verdict", String(12), nullable=False),
    Column("code", String(64), nullable=False, server_default=""),
    Column("said", Text, nullable=False, server_default=""),
    Column("refund_id", ForeignKey("refunds.id")),
    Column("at", UtcTime),
    CheckConstraint(one_of("verdict", RowVerdict), name="verdict"),
    CheckConstraint(
        f"refund_id IS NULL OR {one_of('verdict', sorted(WITH_REFUND))}", name="refund"
    ),
    partial("ix_import_rows_waiting", "import_id", "row_no", where="verdict = 'waiting'"),
    Index("ix_import_rows_number", "import_id", "merchant", "refund_no"),
)
