"""Callbacks, the gateway's tokens, the breaker, and what a provider says of a whole order."""

import sqlalchemy as sa
from alembic import op

from worker.ledger.types import Json, RowId, UtcTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "accounts", sa.Column("failures", sa.Integer(), server_default="0", nullable=False)
    )
    op.add_column("accounts", sa.Column("breaker_until", UtcTime()))
    for column in ("provider_refunded", "provider_left"):
        op.add_column("orders", sa.Column(column, sa.BigInteger()))
    op.add_column("orders", sa.Column("figures_at", UtcTime()))
    _create_callbacks()
    _create_refused_callbacks()
    _create_api_tokens()


def _create_callbacks() -> None:
    op.create_table(
        "callbacks",
        sa.Column("id", RowId, sa.Identity(always=False), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("refund_id", RowId),
        sa.Column("refund_no", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("stale", sa.Boolean(), nullable=False),
        sa.Column("times", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("first_at", UtcTime(), nullable=False),
        sa.Column("last_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.name"], name="fk_callbacks_account"),
        sa.ForeignKeyConstraint(["refund_id"], ["refunds.id"], name="fk_callbacks_refund_id"),
        sa.PrimaryKeyConstraint("id", name="pk_callbacks"),
        sa.UniqueConstraint("account", "digest", name="uq_callbacks_account_digest"),
    )
    op.create_index("ix_callbacks_refund", "callbacks", ["refund_id"])


def _create_refused_callbacks() -> None:
    op.create_table(
        "refused_callbacks",
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("times", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("first_at", UtcTime(), nullable=False),
        sa.Column("last_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("account", "code", name="pk_refused_callbacks"),
    )


def _create_api_tokens() -> None:
    op.create_table(
        "api_tokens",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("accounts", Json, nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("revoked_at", UtcTime()),
        sa.PrimaryKeyConstraint("name", name="pk_api_tokens"),
        sa.UniqueConstraint("digest", name="uq_api_tokens_digest"),
    )
