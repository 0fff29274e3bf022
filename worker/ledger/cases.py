"""Queries of those who work on cases."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, exists, func, select, text, update

from worker.ledger.journal import MAX_SUBJECT
from worker.ledger.tables import case_entries, cases, orders, refunds
from worker.refund import Case


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseRow:
    """A case as the steps work on it."""

    id: int
    account: str
    kind: Case
    subject: str
    order_id: int | None
    refund_id: int | None
    owner: str
    closed_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldOrder:
    """An order that is held and of which there is no case; with its latest refund's account."""

    id: int
    account: str
    held_at: datetime


_FIELDS: Final = tuple(field.name for field in fields(CaseRow))
_CASE: Final = select(*(cases.c[name] for name in _FIELDS))


def _case_of(row: Any) -> CaseRow:
    return CaseRow(**{**row._mapping, "kind": Case(row.kind)})


def find_case(connection: Connection, case_id: int) -> CaseRow | None:
    """A case, not locked."""
    row = connection.execute(_CASE.where(cases.c.id == case_id)).first()
    return _case_of(row) if row else None


def lock_case(connection: Connection, case_id: int) -> CaseRow:
    """A case, locked; the order and the refund that it is of must be locked already."""
    return _case_of(connection.execute(_CASE.where(cases.c.id == case_id).with_for_update()).one())


def lock_open_cases(connection: Connection, refund_id: int) -> list[CaseRow]:
    """The open cases of a locked refund, locked."""
    found = _CASE.where(cases.c.refund_id == refund_id, text("closed_at IS NULL"))
    return [
        _case_of(row) for row in connection.execute(found.order_by(cases.c.id).with_for_update())
    ]


def find_open_case(connection: Connection, order_id: int, kind: Case) -> CaseRow | None:
    """The order's open case of that kind, not locked."""
    row = connection.execute(_open_of_order(order_id, kind)).first()
    return _case_of(row) if row else None


def find_open_case_about(
    connection: Connection, account: str, kind: Case, subject: str, *, lock: bool = False
) -> CaseRow | None:
    """The open case of that kind about something that need not be a refund."""
    found = _CASE.where(
        cases.c.account == account,
        cases.c.kind == kind,
        cases.c.subject == subject[:MAX_SUBJECT],
        text("closed_at IS NULL"),
    )
    row = connection.execute(found.with_for_update() if lock else found).first()
    return _case_of(row) if row else None


def _open_of_order(order_id: int, kind: Case) -> Select[Any]:
    return _CASE.where(
        cases.c.order_id == order_id, cases.c.kind == kind, text("closed_at IS NULL")
    )


def update_case(connection: Connection, case_id: int, values: dict[str, Any]) -> None:
    """Write columns of a case that is locked."""
    connection.execute(update(cases).where(cases.c.id == case_id).values(values))


def entries_of(connection: Connection, case_id: int) -> list[dict[str, Any]]:
    """What was done about a case, the first first."""
    shown = (case_entries.c[name] for name in ("at", "who", "what", "reason", "detail"))
    rows = select(*shown).where(case_entries.c.case_id == case_id).order_by(case_entries.c.id)
    return [dict(row._mapping) for row in connection.execute(rows)]


def held_orders(connection: Connection, limit: int) -> list[HeldOrder]:
    """The held orders without an open case of that, those first that are held longest."""
    other = refunds.alias()
    latest = select(func.max(other.c.id)).where(other.c.order_id == orders.c.id)
    has_case = exists().where(
        cases.c.order_id == orders.c.id, cases.c.kind == Case.HELD, text("cases.closed_at IS NULL")
    )
    rows = connection.execute(
        select(orders.c.id, orders.c.held_at, refunds.c.account)
        .select_from(orders)
        .join(refunds, refunds.c.id == latest.scalar_subquery())
        .where(text("orders.held_at IS NOT NULL"), ~has_case)
        .order_by(orders.c.held_at)
        .limit(limit)
    )
    return [HeldOrder(**row._mapping) for row in rows]
