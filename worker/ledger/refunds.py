"""Queries on refunds and their attempts."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, insert, or_, select, text, update

from worker.ledger.rows import (
    AttemptRow,
    Breaker,
    Head,
    Order,
    Refund,
    attempt_of,
    order_of,
    refund_of,
)
from worker.ledger.tables import ASKABLE, OPEN_ON_ORDER, accounts, attempts, orders, refunds
from worker.refund import CLOSED, Attempt


def find_refund(connection: Connection, merchant: str, refund_no: str) -> Refund | None:
    """The refund of that number, not locked."""
    row = connection.execute(
        select(refunds).where(refunds.c.merchant == merchant, refunds.c.refund_no == refund_no)
    ).first()
    return refund_of(row) if row else None


def latest_refund(connection: Connection, order_id: int) -> Refund:
    """The order's refund that came last, not locked; no order is without one."""
    row = connection.execute(
        select(refunds).where(refunds.c.order_id == order_id).order_by(refunds.c.id.desc()).limit(1)
    )
    return refund_of(row.one())


def find_refunds_by_number(connection: Connection, refund_no: str) -> list[Refund]:
    """Every merchant's refund of that number, not locked."""
    rows = connection.execute(
        select(refunds).where(refunds.c.refund_no == refund_no).order_by(refunds.c.id)
    )
    return [refund_of(row) for row in rows]


def lock_refund(connection: Connection, refund_id: int) -> Refund:
    """The refund, locked; its order must be locked already."""
    row = connection.execute(select(refunds).where(refunds.c.id == refund_id).with_for_update())
    return refund_of(row.one())


def insert_refund(connection: Connection, values: dict[str, Any]) -> int:
    """Insert a refund and return its id."""
    written = connection.execute(insert(refunds).values(values).returning(refunds.c.id))
    return int(written.scalar_one())


def update_refund(connection: Connection, refund_id: int, values: dict[str, Any]) -> None:
    """Write columns of a refund that is locked."""
    connection.execute(update(refunds).where(refunds.c.id == refund_id).values(values))


def note_number(connection: Connection, refund_id: int, number: str | None) -> None:
    """The provider's own number of a refund that is locked, where none is known yet."""
    unnumbered = refunds.c.provider_refund_no.is_(None)
    connection.execute(
        update(refunds)
        .where(refunds.c.id == refund_id, unnumbered)
        .values(provider_refund_no=number)
    )


def count_refunds_of_order(connection: Connection, order_id: int) -> int:
    """How many refunds of the order are neither failed nor canceled."""
    rows = connection.execute(
        select(refunds.c.id).where(
            refunds.c.order_id == order_id, refunds.c.state.not_in(("failed", "canceled"))
        )
    )
    return len(rows.all())


def head_of_order(connection: Connection, order_id: int, *, lock: bool) -> Head | None:
    """The refund that holds the order, else the oldest queued one, with its account's guards."""
    head = (
        select(refunds, accounts.c.paused_at, accounts.c.failures, accounts.c.breaker_until)
        .join(accounts, accounts.c.name == refunds.c.account)
        .where(refunds.c.order_id == order_id, text(f"({OPEN_ON_ORDER})"))
        .order_by(refunds.c.holds_order.desc(), refunds.c.id)
        .limit(1)
    )
    row = connection.execute(head.with_for_update(of=refunds) if lock else head).first()
    if row is None:
        return None
    breaker = Breaker(failures=row.failures, until=row.breaker_until)
    return Head(refund=refund_of(row), paused=row.paused_at is not None, breaker=breaker)


def may_still_send(
    connection: Connection, refund_id: int, attempt: int, trial_until: datetime | None
) -> bool:
    """T2: the attempt is current, its account not paused, its order neither held nor frozen.

    A breaker that opened meanwhile forbids it too, but not the call that is its trial, which
    knows the breaker's time.
    """
    found = connection.execute(
        select(refunds.c.id)
        .join(orders, orders.c.id == refunds.c.order_id)
        .join(accounts, accounts.c.name == refunds.c.account)
        .where(
            refunds.c.id == refund_id,
            refunds.c.state == "submitting",
            refunds.c.attempt == attempt,
            accounts.c.paused_at.is_(None),
            or_(accounts.c.breaker_until.is_(None), accounts.c.breaker_until == trial_until),
            orders.c.hold_token.is_(None),
            orders.c.frozen_at.is_(None),
        )
    )
    return found.first() is not None


def insert_attempt(connection: Connection, values: dict[str, Any]) -> None:
    """Write down the intent to send."""
    connection.execute(insert(attempts).values(values))


def get_attempt(connection: Connection, refund_id: int, number: int) -> AttemptRow:
    """One attempt; it must be there."""
    row = connection.execute(
        select(attempts).where(attempts.c.refund_id == refund_id, attempts.c.number == number)
    )
    return attempt_of(row.one())


def said_before(connection: Connection, refund_id: int, number: int) -> str | None:
    """The code of the answer to the latest attempt before ``number`` that was sent at all."""
    found = connection.execute(
        select(attempts.c.code)
        .where(
            attempts.c.refund_id == refund_id,
            attempts.c.number < number,
            attempts.c.status != Attempt.NEVER_SENT,
        )
        .order_by(attempts.c.number.desc())
        .limit(1)
    )
    code: str | None = found.scalar()
    return code


def finish_attempt(
    connection: Connection, refund_id: int, number: int, values: dict[str, Any]
) -> None:
    """Write what became of an attempt."""
    connection.execute(
        update(attempts)
        .where(attempts.c.refund_id == refund_id, attempts.c.number == number)
        .values(values)
    )


def close_attempts(connection: Connection, refund_id: int, now: datetime) -> None:
    """Close every attempt that is still open: the provider's record says it was declined."""
    connection.execute(
        update(attempts)
        .where(attempts.c.refund_id == refund_id, attempts.c.status.not_in(tuple(CLOSED)))
        .values(status=Attempt.REJECTED, finished_at=now)
    )


def attempts_past_lease(
    connection: Connection, now: datetime, limit: int
) -> list[tuple[int, int, int]]:
    """Order id, refund id and number of attempts that have outlived their lease."""
    rows = connection.execute(
        select(refunds.c.order_id, attempts.c.refund_id, attempts.c.number)
        .join(refunds, refunds.c.id == attempts.c.refund_id)
        .where(text("attempts.status = 'started'"), attempts.c.lease_until < now)
        .order_by(attempts.c.lease_until)
        .limit(limit)
    )
    return [(row.order_id, row.refund_id, row.number) for row in rows]


def accounts_with_questions(
    connection: Connection, names: Iterable[str], now: datetime
) -> list[str]:
    """Those of the accounts that have a refund to ask about now."""
    return [name for name in names if _has_question(connection, name, now)]


def _has_question(connection: Connection, account: str, now: datetime) -> bool:
    found = connection.execute(
        select(refunds.c.id)
        .where(refunds.c.account == account, text(ASKABLE), refunds.c.due_at <= now)
        .limit(1)
    )
    return found.first() is not None


def count_questions(connection: Connection, account: str, now: datetime, most: int) -> int:
    """How many refunds of the account are to be asked about now; ``most`` are counted."""
    due = select(refunds.c.id).where(
        refunds.c.account == account, text(ASKABLE), refunds.c.due_at <= now
    )
    return len(connection.execute(due.limit(most)).all())


def claim_questions(
    connection: Connection, account: str, now: datetime, until: datetime, limit: int
) -> list[tuple[Refund, Order, datetime | None]]:
    """Due refunds of an account, their latest attempt's start if any, claimed until ``until``."""
    latest = and_(attempts.c.refund_id == refunds.c.id, attempts.c.number == refunds.c.attempt)
    due = (
        select(refunds.c.id)
        .where(refunds.c.account == account, text(ASKABLE), refunds.c.due_at <= now)
        .order_by(refunds.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = list(connection.execute(due).scalars())
    if not ids:
        return []
    connection.execute(
        update(refunds)
        .where(refunds.c.id.in_(ids))
        .values(due_at=until, asked=refunds.c.asked + 1, asked_at=now)
    )
    rows = connection.execute(select(refunds).where(refunds.c.id.in_(ids))).all()
    found = {row.id: refund_of(row) for row in rows}
    return [
        (found[refund_id], order, started_at)
        for refund_id, order, started_at in _with_order(connection, ids, latest)
    ]


def _with_order(
    connection: Connection, ids: list[int], latest: Any
) -> list[tuple[int, Order, datetime | None]]:
    rows = connection.execute(
        select(refunds.c.id.label("refund"), attempts.c.started_at, orders)
        .join(orders, orders.c.id == refunds.c.order_id)
        .outerjoin(attempts, latest)  # what was told of before it was sent has none
        .where(refunds.c.id.in_(ids))
        .order_by(refunds.c.id)
    )
    found = []
    for row in rows:
        values = dict(row._mapping)
        refund_id, started_at = values.pop("refund"), values.pop("started_at")
        found.append((refund_id, Order(**values), started_at))
    return found


def claim_aged(connection: Connection, now: datetime, limit: int) -> list[tuple[int, int]]:
    """Order id and id of open refunds that a person should look at by now."""
    rows = connection.execute(
        select(refunds.c.order_id, refunds.c.id)
        .where(refunds.c.case_at.is_not(None), refunds.c.case_at <= now)
        .order_by(refunds.c.case_at)
        .limit(limit)
    )
    return [(row.order_id, row.id) for row in rows]


def order_and_refund(connection: Connection, refund_id: int) -> tuple[Order, Refund]:
    """A refund and its order, not locked."""
    refund = refund_of(connection.execute(select(refunds).where(refunds.c.id == refund_id)).one())
    order = connection.execute(select(orders).where(orders.c.id == refund.order_id)).one()
    return order_of(order), refund
