"""The tables of reconciliation: bills and their lines, what differs, and the runs."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from worker.ledger.schema import metadata, partial
from worker.ledger.types import Fen, Json, RowId, UtcTime

#: Lines that are not done with; those that say so find the index.
UNDONE: Final = "result IN ('new', 'unnumbered', 'linked', 'differs', 'waiting')"

statements = Table(
    "statements",
    metadata,
    Column("id", RowId, Identity(always=False), primary_key=True),
    Column("account", ForeignKey("accounts.name"), nullable=False),
    Column("file_name", Text, nullable=False),
    #: SHA-256 of the file's bytes, and of the layout that it is read by.
    Column("digest", String(64), nullable=False),
    Column("layout", String(64), nullable=False),
    #: The time that it covers.
    Column("covers_from", UtcTime, nullable=False),
    Column("covers_until", UtcTime, nullable=False),
    #: Its refunds; what they paid, in fen; and its other lines.
    Column("lines", BigInteger, nullable=False),
    Column("paid", Fen, nullable=False),
    Column("skipped", BigInteger, nullable=False),
    Column("begun_at", UtcTime, nullable=False),
    #: All its lines are here; before that nothing is compared with it.
    Column("whole_at", UtcTime),
    #: What of ours it should have, and has not, was looked for.
    Column("completed_at", UtcTime),
    #: How many of its lines have which result, so that nobody has to count a million.
    Column("results", Json, nullable=False),
    #: How many of its lines differ in which way.
    Column("signs", Json, nullable=False, server_default="{}"),
    #: Why it is likely that it is read wrongly: it is not compared until a person accepts it.
    Column("doubt", Text),
    Column("accepted_at", UtcTime),
    UniqueConstraint("account", "digest"),
    CheckConstraint("covers_from < covers_until", name="covers"),
    CheckConstraint("lines >= 0 AND paid >= 0 AND skipped >= 0", name="counted"),
)

statement_lines = Table(
    "statement_lines",
    metadata,
    Column("statement_id", ForeignKey("statements.id"), primary_key=True),
    #: Of the line in the file, from 1.
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("refund_no", String(128), nullable=False),
    Column("provider_refund_no", String(128), nullable=False),
    Column("order_no", String(128), nullable=False),
    Column("amount", Fen, nullable=False),
    Column("day", Date),
    Column("succeeded", Boolean, nullable=False),
    Column("result", String(32), nullable=False),
    Column("refund_id", ForeignKey("refunds.id")),
    #: Since when it is what ``result`` says.
    Column("result_at", UtcTime),
    CheckConstraint("amount > 0", name="amount"),
    partial(
        "ix_statement_lines_undone",
        "statement_id",
        "result",
        "number",
        where=UNDONE,
    ),
    partial("ix_statement_lines_refund", "refund_id", where="refund_id IS NOT NULL"),
)

#: What differs is here once, whichever bill says so, and however often it is looked for.
differences = Table(
    "differences",
    metadata,
    Column("id", RowId, Identity(always=False), primary_key=True),
    Column("account", ForeignKey("accounts.name"), nullable=False),
    Column("merchant", String(200), nullable=False),
    Column("kind", String(32), nullable=False),
    #: SHA-256 of what makes it the difference that it is.
    Column("digest", String(64), nullable=False),
    Column("refund_id", ForeignKey("refunds.id")),
    #: The line that shows it, where one does.
    Column("statement_id", RowId),
    Column("line", BigInteger),
    Column("run_id", ForeignKey("reconciliations.id")),
    #: The case that it opened, or that was open already.
    Column("case_id", ForeignKey("cases.id"), nullable=False),
    Column("found_at", UtcTime, nullable=False),
    #: A later bill has explained it.
    Column("explained_at", UtcTime),
    UniqueConstraint("merchant", "digest"),
    ForeignKeyConstraint(
        ["statement_id", "line"],
        ["statement_lines.statement_id", "statement_lines.number"],
        name="fk_differences_line",
    ),
    partial(
        "ix_differences_refund",
        "refund_id",
        where="refund_id IS NOT NULL AND explained_at IS NULL",
    ),
    partial("ix_differences_line", "statement_id", "line", where="statement_id IS NOT NULL"),
    partial("ix_differences_run", "run_id", where="run_id IS NOT NULL"),
    Index("ix_differences_found", "account", "found_at"),
)

reconciliations = Table(
    "reconciliations",
    metadata,
    Column("id", RowId, Identity(always=False), primary_key=True),
    Column("account", ForeignKey("accounts.name"), nullable=False),
    #: The time whose refunds it is about; one order's alone, where it is for one.
    Column("since", UtcTime, nullable=False),
    Column("until", UtcTime, nullable=False),
    Column("order_id", ForeignKey("orders.id")),
    #: ``beat``, or ``hand``.
    Column("begun_by", String(8), nullable=False),
    Column("began_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    #: What it is at, and how far: the last refund that was done, and its ``state_at``.
    Column("phase", String(16), nullable=False),
    Column("phase_at", UtcTime, nullable=False),
    Column("reached", BigInteger, nullable=False),
    Column("reached_at", UtcTime, nullable=False),
    #: Somebody is at work on it until then.
    Column("claimed_until", UtcTime),
    Column("counts", Json, nullable=False),
    CheckConstraint("since < until", name="window"),
    partial("uq_reconciliations_daily", "account", "since", where="begun_by = 'beat'", unique=True),
    partial("ix_reconciliations_open", "account", "id", where="ended_at IS NULL"),
)
