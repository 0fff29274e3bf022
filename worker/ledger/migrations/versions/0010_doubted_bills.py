"""Bills whose lines differ alike are stopped; what a run has found is looked up by it."""

import sqlalchemy as sa
from alembic import op

from worker.ledger.types import Json, UtcTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

UNDONE = "result IN ('new', 'unnumbered', 'linked', 'differs', 'waiting')"


def upgrade() -> None:
    signs = sa.Column("signs", Json, server_default="{}", nullable=False)
    for column in (signs, sa.Column("doubt", sa.Text()), sa.Column("accepted_at", UtcTime())):
        op.add_column("statements", column)
    found_by = sa.text("run_id IS NOT NULL")
    op.create_index(
        "ix_differences_run",
        "differences",
        ["run_id"],
        postgresql_where=found_by,
        sqlite_where=found_by,
    )
    op.drop_index("ix_statement_lines_undone", "statement_lines")
    op.create_index(
        "ix_statement_lines_undone",
        "statement_lines",
        ["statement_id", "result", "number"],
        postgresql_where=sa.text(UNDONE),
        sqlite_where=sa.text(UNDONE),
    )
