"""Queries on accounts that ask first: the ledger was restored, and may have lost what was sent.

Orders are locked before refunds, refunds before accounts, as everywhere.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select, update

from worker.ledger.tables import accounts, cases, orders, refunds
from worker.refund import Case


@dataclass(frozen=True, kw_only=True, slots=True)
class Mode:
    """An account that asks first."""

    account: str
    since: datetime
    reason: str


def not_cleared(since: datetime | ColumnElement[datetime]) -> ColumnElement[bool]:
    """Refunds of which it is not known what a ledger restored at ``since`` has lost."""
    return or_(refunds.c.cleared_at.is_(None), refunds.c.cleared_at <= since)


def accounts_beside(connection: Connection, names: Collection[str]) -> list[str]:
    """The accounts, of all merchants if none is named, and those they share orders with."""
    merchants = select(accounts.c.merchant)
    if names:
        merchants = merchants.where(accounts.c.name.in_(names))
    found = select(accounts.c.name).where(accounts.c.merchant.in_(merchants))
    return list(connection.execute(found.order_by(accounts.c.name)).scalars())


def modes(connection: Connection) -> list[Mode]:
    """Every account that asks first."""
    query = select(
        accounts.c.name, accounts.c.query_first_since, accounts.c.query_first_reason
    ).where(accounts.c.query_first_since.is_not(None))
    rows = connection.execute(query.order_by(accounts.c.name))
    return [Mode(account=row[0], since=row[1], reason=row[2] or "") for row in rows]


def ask_at(
    connection: Connection,
    account: str,
    at: datetime,
    *,
    failed_too: bool,
    refund_no: str | None = None,
) -> int:
    """Make everything not final due at ``at``, as if nobody had asked; returns how many.

    Or the refund of that number alone.
    """
    states = ["queued", "unknown", "pending"] + ["failed"] * failed_too
    which = [refunds.c.account == account, refunds.c.state.in_(states)]
    if refund_no is not None:
        which.append(refunds.c.refund_no == refund_no)
    done = connection.execute(
        update(refunds).where(*which).values(due_at=at, asked=0, not_found=0, not_found_since=None)
    )
    return done.rowcount


def wake_queued(connection: Connection, account: str, now: datetime) -> None:
    """Have the orders looked at in which a refund of the account is queued."""
    waiting = select(refunds.c.order_id).where(
        refunds.c.account == account, refunds.c.state == "queued"
    )
    connection.execute(update(orders).where(orders.c.id.in_(waiting)).values(wake_at=now))


def set_mode(
    connection: Connection, names: Collection[str], since: datetime | None, reason: str | None
) -> None:
    """Have the accounts ask first since then; None: not any more."""
    connection.execute(
        update(accounts)
        .where(accounts.c.name.in_(names))
        .values(query_first_since=since, query_first_reason=reason)
    )


def _uncleared(resubmitting: Collection[str]) -> ColumnElement[bool]:
    """What may have been sent and waits: queued, or failed where it may be resubmitted."""
    waits = or_(
        refunds.c.state == "queued",
        and_(refunds.c.state == "failed", refunds.c.account.in_(resubmitting)),
    )
    since = accounts.c.query_first_since
    return and_(since.is_not(None), not_cleared(since), waits)


def _with_account(*columns: Any) -> Select[Any]:
    return select(*columns).join(accounts, accounts.c.name == refunds.c.account)


def has_uncleared(connection: Connection, order_id: int, resubmitting: Collection[str]) -> bool:
    """Whether a refund of the order may be under way without the ledger's knowing it."""
    found = _with_account(refunds.c.id).where(
        refunds.c.order_id == order_id, _uncleared(resubmitting)
    )
    return connection.execute(found.limit(1)).first() is not None


def count_uncleared(
    connection: Connection, account: str, resubmitting: Collection[str]
) -> dict[str, int]:
    """How many refunds of the account's merchant are not cleared, by their state."""
    merchant = select(accounts.c.merchant).where(accounts.c.name == account).scalar_subquery()
    rows = connection.execute(
        _with_account(refunds.c.state, func.count())
        .where(refunds.c.merchant == merchant, _uncleared(resubmitting))
        .group_by(refunds.c.state)
    )
    return {row[0]: row[1] for row in rows}


def uncleared(connection: Connection, account: str, resubmitting: Collection[str]) -> list[int]:
    """The ids of the account's refunds that are not cleared."""
    rows = connection.execute(
        _with_account(refunds.c.id)
        .where(refunds.c.account == account, _uncleared(resubmitting))
        .order_by(refunds.c.id)
    )
    return list(rows.scalars())


def count_lost_intents(connection: Connection, account: str) -> int:
    """How many queued refunds of the account the provider knows."""
    query = (
        select(func.count())
        .select_from(refunds)
        .join(cases, cases.c.refund_id == refunds.c.id)
        .where(
            refunds.c.account == account,
            refunds.c.state == "queued",
            cases.c.kind == Case.LOST_INTENT,
            cases.c.closed_at.is_(None),
        )
    )
    return int(connection.execute(query).scalar_one())
