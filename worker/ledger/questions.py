"""Queries on whom to ask about.

What a restored ledger calls queued is asked about too, and only while its account asks first; no
index is kept for that, for no other time needs it.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, and_, bindparam, exists, select, text, update

from worker.ledger.bulk import find_by_index
from worker.ledger.engine import Ledger
from worker.ledger.query_first import not_cleared
from worker.ledger.refunds import refund_rows
from worker.ledger.rows import Order, Refund, order_of, refund_of
from worker.ledger.tables import ASKABLE, accounts, attempts, orders, refunds
from worker.ledger.types import is_one_of


def accounts_with_questions(
    connection: Connection, names: Iterable[str], now: datetime
) -> list[str]:
    """Those of the accounts that have a refund to ask about now."""
    return [name for name in names if _has_question(connection, name, now)]


def _has_question(connection: Connection, account: str, now: datetime) -> bool:
    askable = exists().where(refunds.c.account == account, text(ASKABLE), refunds.c.due_at <= now)
    since = select(accounts.c.query_first_since).where(accounts.c.name == account)
    found = connection.execute(
        select(askable.label("askable"), since.scalar_subquery().label("since"))
    ).one()
    if found.askable or found.since is None:
        return bool(found.askable)
    return connection.execute(_queued(account, found.since, now, 1)).first() is not None


def time_and_mode(
    ledger: Ledger, connection: Connection, account: str
) -> tuple[datetime, datetime | None]:
    """The ledger's time, and since when the account asks first, if it does."""
    since = select(accounts.c.query_first_since).where(accounts.c.name == account)
    row = connection.execute(select(ledger.time, since.scalar_subquery())).one()
    return row[0], row[1]


def _due(account: str, now: datetime, most: int) -> Select[Any]:
    return (
        select(refunds.c.id)
        .where(refunds.c.account == account, text(ASKABLE), refunds.c.due_at <= now)
        .order_by(refunds.c.due_at)
        .limit(most)
    )


def _queued(account: str, since: datetime, now: datetime, most: int) -> Select[Any]:
    """What an account that asks first has queued, wherever it stands in its order's queue."""
    return (
        select(refunds.c.id)
        .where(
            refunds.c.account == account,
            refunds.c.state == "queued",
            refunds.c.due_at <= now,
            not_cleared(since),
        )
        .order_by(refunds.c.due_at)
        .limit(most)
    )


def count_questions(
    connection: Connection, account: str, since: datetime | None, now: datetime, most: int
) -> int:
    """How many refunds of the account are to be asked about now; ``most`` are counted."""
    found = len(connection.execute(_due(account, now, most)).all())
    if since is not None and found < most:
        found += len(connection.execute(_queued(account, since, now, most - found)).all())
    return found


_CLAIM: Final = (
    update(refunds)
    .where(is_one_of(refunds.c.id, "ids"))
    .values(
        due_at=bindparam("claimed_until"),
        asked=refunds.c.asked + 1,
        asked_at=bindparam("claimed_at"),
    )
)
_CLAIMED: Final = refund_rows().where(is_one_of(refunds.c.id, "ids"))
#: What was told of before it was sent has no attempt.
_WITH_ORDER: Final = (
    select(refunds.c.id.label("refund"), attempts.c.started_at, orders)
    .join(orders, orders.c.id == refunds.c.order_id)
    .outerjoin(
        attempts,
        and_(attempts.c.refund_id == refunds.c.id, attempts.c.number == refunds.c.attempt),
    )
    .where(is_one_of(refunds.c.id, "ids"))
    .order_by(refunds.c.id)
)


def claim_questions(
    connection: Connection,
    account: str,
    since: datetime | None,
    now: datetime,
    until: datetime,
    limit: int,
) -> list[tuple[Refund, Order, datetime | None]]:
    """Due refunds of an account, their latest attempt's start if any, claimed until ``until``."""
    due = _due(account, now, limit).with_for_update(skip_locked=True)
    ids = list(connection.execute(due).scalars())
    if since is not None and len(ids) < limit:
        queued = _queued(account, since, now, limit - len(ids)).with_for_update(skip_locked=True)
        ids += connection.execute(queued).scalars()
    if not ids:
        return []
    find_by_index(connection)
    connection.execute(_CLAIM, {"ids": ids, "claimed_until": until, "claimed_at": now})
    rows = connection.execute(_CLAIMED, {"ids": ids})
    found = {row.id: refund_of(row._mapping) for row in rows}
    claimed = []
    for row in connection.execute(_WITH_ORDER, {"ids": ids}):
        order = dict(row._mapping)
        refund_id, started_at = order.pop("refund"), order.pop("started_at")
        claimed.append((found[refund_id], order_of(order), started_at))
    return claimed
