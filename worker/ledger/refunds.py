"""Queries on refunds and their attempts."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, Table, and_, bindparam, or_, select, text, update

from worker.ledger.bulk import insert_rows
from worker.ledger.rows import (
    AttemptRow,
    Breaker,
    Head,
    Order,
    Refund,
    Sendable,
    UsedNumber,
    attempt_of,
    order_of,
    refund_of,
)
from worker.ledger.tables import (
    OPEN_ON_ORDER,
    accounts,
    archived_attempts,
    attempts,
    orders,
    refunds,
)
from worker.ledger.types import is_one_of
from worker.ledger.writes import insert_row, update_row
from worker.refund import CLOSED, Attempt


def refund_rows() -> Select[Any]:
    """Refunds, each with what its account says of all of them."""
    return select(refunds, accounts.c.query_first_since).join(
        accounts, accounts.c.name == refunds.c.account
    )


def find_refund(connection: Connection, merchant: str, refund_no: str) -> Refund | None:
    """The refund of that number, not locked."""
    row = connection.execute(
        refund_rows().where(refunds.c.merchant == merchant, refunds.c.refund_no == refund_no)
    ).first()
    return refund_of(row._mapping) if row else None


def latest_refund(connection: Connection, order_id: int) -> Refund:
    """The order's refund that came last, not locked; no order is without one."""
    row = connection.execute(
        refund_rows().where(refunds.c.order_id == order_id).order_by(refunds.c.id.desc()).limit(1)
    )
    return refund_of(row.mappings().one())


def find_refunds_by_number(connection: Connection, refund_no: str) -> list[Refund]:
    """Every merchant's refund of that number, not locked."""
    rows = connection.execute(
        refund_rows().where(refunds.c.refund_no == refund_no).order_by(refunds.c.id)
    )
    return [refund_of(row._mapping) for row in rows]


def lock_refund(connection: Connection, refund_id: int) -> Refund:
    """The refund, locked; its order must be locked already."""
    found = refund_rows().where(refunds.c.id == refund_id).with_for_update(of=refunds)
    return refund_of(connection.execute(found).mappings().one())


_USED_NUMBERS: Final = select(*(refunds.c[name] for name in UsedNumber._fields)).where(
    refunds.c.merchant == bindparam("of_merchant"), is_one_of(refunds.c.refund_no, "numbers")
)


def used_numbers(
    connection: Connection, merchant: str, numbers: Sequence[str]
) -> dict[str, UsedNumber]:
    """Those of the merchant's numbers that stand for a refund already; nothing is locked."""
    rows = connection.execute(_USED_NUMBERS, {"of_merchant": merchant, "numbers": list(numbers)})
    return {row.refund_no: UsedNumber(*row) for row in rows}


_OPEN_ORDERS: Final = select(refunds.c.order_id).where(
    is_one_of(refunds.c.order_id, "ids"), text(f"({OPEN_ON_ORDER})")
)


def orders_with_open(connection: Connection, order_ids: Sequence[int]) -> set[int]:
    """Those of the orders that a refund holds, or waits for."""
    return set(connection.execute(_OPEN_ORDERS, {"ids": list(order_ids)}).scalars())


def insert_refunds(connection: Connection, rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Insert refunds of one merchant, in their order; number and id of each."""
    written = insert_rows(connection, refunds, rows, returning=("refund_no", "id"))
    return {row.refund_no: row.id for row in written}


def update_refund(connection: Connection, refund_id: int, values: dict[str, Any]) -> None:
    """Write columns of a refund that is locked."""
    update_row(connection, refunds, {"id": refund_id}, values)


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


_HEAD: Final = refund_rows().add_columns(
    accounts.c.paused_at, accounts.c.failures, accounts.c.breaker_until
)


def head_of_order(connection: Connection, order_id: int, *, lock: bool) -> Head | None:
    """The refund that holds the order, else the oldest queued one, with its account's guards."""
    head = (
        _HEAD.where(refunds.c.order_id == order_id, text(f"({OPEN_ON_ORDER})"))
        .order_by(refunds.c.holds_order.desc(), refunds.c.id)
        .limit(1)
    )
    return _head(connection, head.with_for_update(of=refunds) if lock else head)


def lock_next_of_order(connection: Connection, order_id: int, holder_id: int) -> Head | None:
    """The oldest queued refund of an order that is locked, beside the one that holds it.

    Locked as well; None if somebody has it.
    """
    queued = (
        _HEAD.where(
            refunds.c.order_id == order_id,
            refunds.c.state == "queued",
            refunds.c.id != holder_id,
        )
        .order_by(refunds.c.id)
        .limit(1)
    )
    return _head(connection, queued.with_for_update(of=refunds, skip_locked=True))


def _head(connection: Connection, wanted: Select[Any]) -> Head | None:
    row = connection.execute(wanted).first()
    if row is None:
        return None
    breaker = Breaker(failures=row.failures, until=row.breaker_until)
    return Head(refund=refund_of(row._mapping), paused=row.paused_at is not None, breaker=breaker)


_MAY_BE_SENT: Final = (
    select(refunds.c.id, attempts.c.number, attempts.c.started_at, accounts.c.breaker_until)
    .join(orders, orders.c.id == refunds.c.order_id)
    .join(accounts, accounts.c.name == refunds.c.account)
    .join(
        attempts,
        and_(attempts.c.refund_id == refunds.c.id, attempts.c.number == refunds.c.attempt),
    )
    .where(
        is_one_of(refunds.c.id, "ids"),
        refunds.c.state == "submitting",
        accounts.c.paused_at.is_(None),
        or_(
            accounts.c.query_first_since.is_(None),
            refunds.c.cleared_at > accounts.c.query_first_since,
        ),
        orders.c.hold_token.is_(None),
        orders.c.frozen_at.is_(None),
    )
)


def may_be_sent(connection: Connection, refund_ids: Sequence[int]) -> dict[int, Sendable]:
    """T2: those of the refunds whose order is neither held nor frozen, nor their account paused.

    Nor has the account begun to ask first, unless the refund was cleared since. What is left to the
    caller is whether the attempt is its own.
    """
    rows = connection.execute(_MAY_BE_SENT, {"ids": list(refund_ids)})
    return {refund_id: Sendable(*attempt) for refund_id, *attempt in rows}


def insert_attempt(connection: Connection, values: dict[str, Any]) -> None:
    """Write down the intent to send."""
    insert_row(connection, attempts, values)


def get_attempt(connection: Connection, refund_id: int, number: int) -> AttemptRow:
    """One attempt; it must be there, or in the archive."""
    found = connection.execute(_attempt(attempts, refund_id, number)).mappings().first()
    if found is None:
        found = connection.execute(_attempt(archived_attempts, refund_id, number)).mappings().one()
    return attempt_of(found)


def _attempt(table: Table, refund_id: int, number: int) -> Select[Any]:
    return _attempts(table).where(table.c.refund_id == refund_id, table.c.number == number)


def _attempts(table: Table) -> Select[Any]:
    return select(*(table.c[field.name] for field in fields(AttemptRow)))


def sent_before(connection: Connection, refund_id: int, number: int) -> AttemptRow | None:
    """The latest attempt before ``number`` that was sent at all."""
    found = connection.execute(
        _attempts(attempts)
        .where(
            attempts.c.refund_id == refund_id,
            attempts.c.number < number,
            attempts.c.status != Attempt.NEVER_SENT,
        )
        .order_by(attempts.c.number.desc())
        .limit(1)
    )
    row = found.mappings().first()
    return attempt_of(row) if row else None


def finish_attempt(
    connection: Connection, refund_id: int, number: int, values: dict[str, Any]
) -> None:
    """Write what became of an attempt."""
    update_row(connection, attempts, {"refund_id": refund_id, "number": number}, values)


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
    found = refund_rows().where(refunds.c.id == refund_id)
    refund = refund_of(connection.execute(found).mappings().one())
    order = connection.execute(select(orders).where(orders.c.id == refund.order_id))
    return order_of(order.mappings().one()), refund
