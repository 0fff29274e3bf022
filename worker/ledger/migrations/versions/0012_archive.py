"""The archive of events and attempts: copies that only grow, each lot of a refund under a digest."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.ledger.migrations.archive_guards import create_archive_guards
from worker.ledger.types import Json, RowId, UtcTime

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

UNARCHIVED = (
    "state IN ('succeeded', 'failed', 'canceled', 'reversed') AND archived_seq < event_seq - 1"
)


def upgrade() -> None:
    _create_archived_events()
    _create_archived_attempts()
    _create_archives()
    op.add_column(
        "refunds",
        sa.Column("archived_seq", sa.BigInteger(), server_default="0", nullable=False),
    )
    where: dict[str, Any] = {
        f"{name}_where": sa.text(UNARCHIVED) for name in ("postgresql", "sqlite")
    }
    op.create_index("ix_refunds_unarchived", "refunds", ["state_at"], **where)
    bind = op.get_bind()
    dialect, schema = bind.dialect.name, ""
    if dialect == "postgresql":
        schema = str(bind.scalar(sa.text("SELECT current_schema()"))).replace('"', '""')
    for statement in create_archive_guards(dialect, schema):
        op.execute(statement)


def _create_archived_events() -> None:
    op.create_table(
        "archived_events",
        sa.Column("refund_id", RowId, autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("detail", Json, nullable=False),
        sa.ForeignKeyConstraint(["refund_id"], ["refunds.id"], name="fk_archived_events_refund_id"),
        sa.PrimaryKeyConstraint("refund_id", "seq", name="pk_archived_events"),
    )


def _create_archived_attempts() -> None:
    op.create_table(
        "archived_attempts",
        sa.Column("refund_id", RowId, autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("started_at", UtcTime(), nullable=False),
        sa.Column("lease_until", UtcTime(), nullable=False),
        sa.Column("finished_at", UtcTime()),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("request", sa.Text()),
        sa.Column("answer", sa.Text()),
        sa.ForeignKeyConstraint(
            ["refund_id"], ["refunds.id"], name="fk_archived_attempts_refund_id"
        ),
        sa.PrimaryKeyConstraint("refund_id", "number", name="pk_archived_attempts"),
    )


def _create_archives() -> None:
    op.create_table(
        "archives",
        sa.Column("refund_id", RowId, autoincrement=False, nullable=False),
        sa.Column("last_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last_attempt", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("archived_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["refund_id"], ["refunds.id"], name="fk_archives_refund_id"),
        sa.PrimaryKeyConstraint("refund_id", "last_seq", name="pk_archives"),
    )
