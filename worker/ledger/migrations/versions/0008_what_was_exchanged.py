"""Every attempt keeps what was sent and what came back, as it was written first."""

import sqlalchemy as sa
from alembic import op

from worker.ledger.migrations.kept_guards import create_exchange_guards

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in ("request", "answer"):
        op.add_column("attempts", sa.Column(column, sa.Text()))
    for statement in create_exchange_guards(op.get_bind().dialect.name):
        op.execute(statement)
