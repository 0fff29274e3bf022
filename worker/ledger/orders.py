"""Queries on orders."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, exists, insert, null, or_, select, update

from config.errors import ConfigError
from worker.ledger.rows import Order, order_of
from worker.ledger.tables import accounts, orders, refunds
from worker.ledger.types import insert_into
from worker.refund import Figures


def lock_order(connection: Connection, order_id: int) -> Order:
    """The order, locked until the transaction ends. Orders are locked before refunds."""
    row = connection.execute(select(orders).where(orders.c.id == order_id).with_for_update())
    return order_of(row.one())


def get_order(connection: Connection, order_id: int) -> Order:
    """The order, not locked."""
    return order_of(connection.execute(select(orders).where(orders.c.id == order_id)).one())


def find_order(connection: Connection, merchant: str, order_no: str) -> Order | None:
    """The order of that number, not locked."""
    row = connection.execute(
        select(orders).where(orders.c.merchant == merchant, orders.c.order_no == order_no)
    ).first()
    return order_of(row) if row else None


def lock_order_by_number(connection: Connection, merchant: str, order_no: str) -> Order:
    """The order by its number, locked; it must be there."""
    found = connection.execute(
        select(orders)
        .where(orders.c.merchant == merchant, orders.c.order_no == order_no)
        .with_for_update()
    )
    return order_of(found.one())


def insert_order_if_absent(connection: Connection, values: dict[str, Any]) -> None:
    """Insert the order unless its number is there."""
    connection.execute(
        insert_into(connection, orders)
        .values(values)
        .on_conflict_do_nothing(index_elements=["merchant", "order_no"])
    )


def update_order(connection: Connection, order_id: int, values: dict[str, Any]) -> None:
    """Write columns of an order that is locked."""
    connection.execute(update(orders).where(orders.c.id == order_id).values(values))


def keep_figures(connection: Connection, order_id: int, figures: Figures, at: datetime) -> None:
    """Write down what the provider said of a whole order, and when; both are of one answer."""
    values = {"provider_refunded": figures.refunded, "provider_left": figures.left}
    update_order(connection, order_id, values | {"figures_at": at})


def wake_if_waiting(connection: Connection, order_id: int, at: datetime) -> bool:
    """Mark the order to be woken at ``at`` if a refund of it is queued, else not at all."""
    waiting = exists().where(refunds.c.order_id == order_id, refunds.c.state == "queued")
    written = connection.execute(
        update(orders)
        .where(orders.c.id == order_id)
        .values(wake_at=case((waiting, at), else_=null()))
        .returning(orders.c.wake_at)
    )
    return written.scalar_one() is not None


def claim_orders_to_wake(
    connection: Connection, now: datetime, next_wake: datetime, limit: int
) -> list[int]:
    """Orders whose work is due, each pushed back to ``next_wake`` in case nobody comes."""
    due = (
        select(orders.c.id)
        .where(orders.c.wake_at.is_not(None), orders.c.wake_at <= now)
        .order_by(orders.c.wake_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = list(connection.execute(due).scalars())
    if ids:
        connection.execute(update(orders).where(orders.c.id.in_(ids)).values(wake_at=next_wake))
    return ids


def ensure_account(connection: Connection, name: str, provider: str, merchant: str) -> None:
    """Note an account of ``accounts.toml`` in the ledger, so that refunds can refer to it."""
    known = connection.execute(
        select(accounts.c.provider, accounts.c.merchant).where(accounts.c.name == name)
    ).first()
    if known is None:
        connection.execute(insert(accounts).values(name=name, provider=provider, merchant=merchant))
    elif (known.provider, known.merchant) != (provider, merchant):
        raise ConfigError(
            f"account {name} was {known.provider} of {known.merchant} and is now {provider} "
            f"of {merchant}: its refunds would lose their orders; give the account a new name"
        )


def pause_account(connection: Connection, name: str, reason: str, now: datetime) -> bool:
    """Stop sending for an account; False if it was paused already or is not there."""
    done = connection.execute(
        update(accounts)
        .where(accounts.c.name == name, accounts.c.paused_at.is_(None))
        .values(paused_at=now, paused_reason=reason)
    )
    return done.rowcount > 0


def resume_account(connection: Connection, name: str, now: datetime) -> bool:
    """Send again for an account, and wake its orders; False if it was not stopped.

    An open breaker is closed. Orders first: a decision that pauses its account holds the order
    already.
    """
    waiting = select(refunds.c.order_id).where(
        refunds.c.account == name, refunds.c.state == "queued"
    )
    connection.execute(update(orders).where(orders.c.id.in_(waiting)).values(wake_at=now))
    stopped = or_(accounts.c.paused_at.is_not(None), accounts.c.breaker_until.is_not(None))
    done = connection.execute(
        update(accounts)
        .where(accounts.c.name == name, stopped)
        .values(paused_at=None, paused_reason=None, failures=0, breaker_until=None)
    )
    return done.rowcount > 0
