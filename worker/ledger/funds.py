"""Queries on refunds that the merchant's balance at the provider is short of."""

from datetime import datetime

from sqlalchemy import Connection, Select, and_, func, or_, select, update

from worker.case_rules import AccountDeed
from worker.ledger.tables import account_entries, events, orders, refunds
from worker.refund import WAITING_FOR_FUNDS


def waits_for_funds(connection: Connection, refund_id: int, account: str) -> int:
    """How often a refund has waited since somebody said that the balance was filled up."""
    filled = (
        select(func.max(account_entries.c.at))
        .where(account_entries.c.account == account, account_entries.c.what == AccountDeed.FUNDED)
        .scalar_subquery()
    )
    waits = select(func.count()).where(
        events.c.refund_id == refund_id,
        events.c.kind == WAITING_FOR_FUNDS,
        or_(filled.is_(None), events.c.at > filled),
    )
    return int(connection.execute(waits).scalar_one())


def try_short_ones(connection: Connection, account: str, now: datetime) -> tuple[int, int]:
    """Make due what waits for funds, and wake its orders; how many, and how much in fen."""
    due_orders = update(orders).where(orders.c.id.in_(_short(account, "order_id")))
    connection.execute(due_orders.values(wake_at=now))  # orders are locked before refunds
    due = update(refunds).where(refunds.c.id.in_(_short(account, "id")))
    connection.execute(due.values(due_at=now))
    amounts = _short(account, "amount").subquery()
    total = select(func.count(), func.coalesce(func.sum(amounts.c.amount), 0))
    number, amount = connection.execute(total.select_from(amounts)).one()
    return int(number), int(amount)


def _short(account: str, column: str) -> Select[tuple[int]]:
    """Of the account's refunds that wait for funds: it is the last that happened to them."""
    latest = and_(events.c.refund_id == refunds.c.id, events.c.seq == refunds.c.event_seq)
    return (
        select(refunds.c[column])
        .join(events, latest)
        .where(
            refunds.c.account == account,
            refunds.c.state == "queued",
            events.c.kind == WAITING_FOR_FUNDS,
        )
    )
