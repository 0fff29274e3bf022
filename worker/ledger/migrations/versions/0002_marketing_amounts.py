"""The part of a refund that the merchant's marketing bears has a cap of its own."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COLUMNS = {
    "orders": ("marketing_reserved", "marketing_refunded"),
    "refunds": ("marketing_amount", "contested_marketing"),
}
CHECKS = (
    (
        "orders",
        "not_over_total",
        "refunded_before + refunded + reserved + marketing_refunded + marketing_reserved <= order_amount",
    ),
    ("orders", "no_negative_marketing", "marketing_reserved >= 0 AND marketing_refunded >= 0"),
    (
        "refunds",
        "marketing_within_amount",
        "marketing_amount >= 0 AND marketing_amount < amount AND contested_marketing >= 0 AND contested_marketing <= marketing_amount AND contested_reserved + contested_excess + contested_marketing <= amount",
    ),
)


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _upgrade_sqlite()
        return
    for table, columns in COLUMNS.items():
        for column in columns:
            op.add_column(table, _amount(column))
    for table, name, condition in CHECKS:
        op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)


def _amount(column: str) -> sa.Column[int]:
    return sa.Column(column, sa.BigInteger(), server_default="0", nullable=False)


def _upgrade_sqlite() -> None:
    """SQLite takes a new check only with a new column; making a table anew loses its triggers."""
    for table, columns in COLUMNS.items():
        conditions = [(name, condition) for owner, name, condition in CHECKS if owner == table]
        checks = " ".join(
            f"CONSTRAINT ck_{table}_{name} CHECK ({said})" for name, said in conditions
        )
        for column in columns:
            last = checks if column == columns[-1] else ""
            op.execute(
                f"ALTER TABLE {table} ADD COLUMN {column} BIGINT DEFAULT '0' NOT NULL {last}"
            )
