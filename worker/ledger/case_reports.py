"""Queries on cases that people and programs read by."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, select, text

from worker.ledger.tables import cases, orders, refunds


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownCase:
    """One case; what it is of, where it is of a refund or an order."""

    id: int
    kind: str
    subject: str
    owner: str
    opened_at: datetime
    #: When it should be closed at the latest.
    due_at: datetime
    closed_at: datetime | None
    account: str
    order_no: str | None
    refund_no: str | None
    amount: int | None
    currency: str | None
    state: str | None
    evidence: dict[str, Any]


def _case_rows() -> Select[Any]:
    return (
        select(
            cases,
            orders.c.order_no,
            orders.c.currency,
            refunds.c.refund_no,
            refunds.c.amount,
            refunds.c.state,
        )
        .outerjoin(refunds, refunds.c.id == cases.c.refund_id)
        .outerjoin(orders, orders.c.id == cases.c.order_id)
    )


def _case_row(row: Any) -> ShownCase:
    return ShownCase(**{name: row._mapping[name] for name in ShownCase.__slots__})


def open_cases(
    connection: Connection, limit: int, *, late_at: datetime | None = None, **wanted: str | None
) -> list[ShownCase]:
    """Open cases, the oldest first.

    Args:
        connection: to read by.
        limit: how many at most.
        late_at: only those that should have been closed by then.
        wanted: what a case's ``account``, ``kind`` and ``owner`` have to be, where given.
    """
    query = _case_rows().where(text("cases.closed_at IS NULL")).order_by(cases.c.opened_at)
    for name, value in wanted.items():
        if value is not None:
            query = query.where(cases.c[name] == value)
    if late_at is not None:
        query = query.where(cases.c.due_at < late_at)
    return [_case_row(row) for row in connection.execute(query.limit(limit))]


def get_case(connection: Connection, case_id: int) -> ShownCase | None:
    """One case."""
    row = connection.execute(_case_rows().where(cases.c.id == case_id)).first()
    return _case_row(row) if row else None


def cases_of(connection: Connection, refund_id: int) -> list[ShownCase]:
    """The cases of a refund, the oldest first."""
    query = _case_rows().where(cases.c.refund_id == refund_id).order_by(cases.c.id)
    return [_case_row(row) for row in connection.execute(query)]
