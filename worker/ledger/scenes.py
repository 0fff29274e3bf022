"""What decisions stand on: orders with one refund each, locked, and what lies beside them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, exists, select

from worker.ledger.rows import AttemptRow, Order, Refund, attempt_of, order_of, refund_of
from worker.ledger.tables import accounts, attempts, orders, refunds
from worker.ledger.types import is_one_of

_ORDER_COLUMNS: Final = tuple(column.name for column in orders.c)
_REFUND_COLUMNS: Final = tuple(column.name for column in refunds.c)
_ATTEMPT_COLUMNS: Final = tuple(field.name for field in fields(AttemptRow))

_ROWS: Final = (
    select(orders, refunds)
    .join(refunds, refunds.c.order_id == orders.c.id)
    .where(is_one_of(refunds.c.id, "ids"))
    .order_by(orders.c.id)
)
#: An order is locked before its refund, and orders by their ids: nobody waits in a circle.
_LOCKED: Final = _ROWS.with_for_update(of=(orders, refunds))
_LOCKED_IF_FREE: Final = _ROWS.with_for_update(of=(orders, refunds), skip_locked=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Locked:
    """An order and a refund of it, locked until the transaction ends."""

    order: Order
    refund: Refund
    #: The refund's latest attempt, if it has one.
    attempt: AttemptRow | None
    #: Another refund of the order is queued.
    others_wait: bool
    #: The ledger's time, after everything was locked.
    now: datetime


def lock_rows(
    connection: Connection,
    time: ColumnElement[datetime],
    refund_ids: Sequence[int],
    *,
    if_free: bool = False,
) -> list[Locked]:
    """Lock refunds and their orders, which are all different ones.

    Args:
        connection: of the transaction that the locks end with.
        time: the ledger's, as an expression.
        refund_ids: which; those that are not there are left out.
        if_free: leave out what somebody has locked, instead of waiting for it.
    """
    ids = {"ids": list(refund_ids)}
    rows = connection.execute(_LOCKED_IF_FREE if if_free else _LOCKED, ids).all()
    if not rows:
        return []
    # a statement of its own: what it reads is what the locks' holders before have committed
    beside = {row.id: row for row in connection.execute(_beside(time), ids)}
    return [_locked(row, beside) for row in rows]


@cache
def _beside(time: ColumnElement[datetime]) -> Select[Any]:
    other = refunds.alias()
    others_wait = exists().where(
        other.c.order_id == refunds.c.order_id,
        other.c.state == "queued",
        other.c.id != refunds.c.id,
    )
    latest = and_(attempts.c.refund_id == refunds.c.id, attempts.c.number == refunds.c.attempt)
    return (
        select(
            refunds.c.id,
            time.label("now"),
            others_wait.label("others_wait"),
            accounts.c.query_first_since,
            *(attempts.c[name] for name in _ATTEMPT_COLUMNS),
        )
        .join(accounts, accounts.c.name == refunds.c.account)
        .outerjoin(attempts, latest)
        .where(is_one_of(refunds.c.id, "ids"))
    )


def _locked(row: Row[Any], beside: dict[int, Row[Any]]) -> Locked:
    split = len(_ORDER_COLUMNS)
    order = dict(zip(_ORDER_COLUMNS, row[:split], strict=True))
    refund = dict(zip(_REFUND_COLUMNS, row[split:], strict=True))
    near = beside[refund["id"]]
    attempt = dict(zip(_ATTEMPT_COLUMNS, near[-len(_ATTEMPT_COLUMNS) :], strict=True))
    return Locked(
        order=order_of(order),
        refund=refund_of(refund | {"query_first_since": near.query_first_since}),
        attempt=attempt_of(attempt) if attempt["number"] is not None else None,
        others_wait=near.others_wait,
        now=near.now,
    )
