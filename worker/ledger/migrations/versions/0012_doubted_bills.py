"""Bills whose lines differ alike are stopped before a case is opened of each."""

import sqlalchemy as sa
from alembic import op

from worker.ledger.types import Json, UtcTime

revision = "0012"
down_revision = "0007"
branch_labels = None
depends_on = None

UNDONE = "result IN ('new', 'unnumbered', 'linked', 'differs', 'waiting')"


def upgrade() -> None:
    signs = sa.Column("signs", Json, server_default="{}", nullable=False)
    for column in (signs, sa.Column("doubt", sa.Text()), sa.Column("accepted_at", UtcTime())):
        op.add_column("statements", column)
    op.drop_index("ix_statement_lines_undone", "statement_lines")
    op.create_index(
        "ix_statement_lines_undone",
        "statement_lines",
        ["statement_id", "result", "number"],
        postgresql_where=sa.text(UNDONE),
        sqlite_where=sa.text(UNDONE),
    )
