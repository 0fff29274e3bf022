"""Queries on orders."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, and_, bindparam, insert, select, update

from config.errors import ConfigError
from worker.ledger.bulk import insert_rows
from worker.ledger.rows import Order, order_of
from worker.ledger.tables import accounts, orders
from worker.ledger.types import is_one_of
from worker.ledger.writes import update_row
from worker.refund import Figures


def lock_order(connection: Connection, order_id: int) -> Order:
    """The order, locked until the transaction ends. Orders are locked before refunds."""
    row = connection.execute(select(orders).where(orders.c.id == order_id).with_for_update())
    return order_of(row.mappings().one())


def get_order(connection: Connection, order_id: int) -> Order:
    """The order, not locked."""
    row = connection.execute(select(orders).where(orders.c.id == order_id))
    return order_of(row.mappings().one())


def find_order(connection: Connection, merchant: str, order_no: str) -> Order | None:
    """The order of that number, not locked."""
    row = connection.execute(
        select(orders).where(orders.c.merchant == merchant, orders.c.order_no == order_no)
    ).first()
    return order_of(row._mapping) if row else None


_BY_NUMBER: Final = (
    select(orders)
    .where(orders.c.merchant == bindparam("of_merchant"), is_one_of(orders.c.order_no, "numbers"))
    .order_by(orders.c.id)
)
_LOCKED: Final = _BY_NUMBER.with_for_update()
_LOCKED_IF_FREE: Final = _BY_NUMBER.with_for_update(skip_locked=True)


def lock_orders_by_number(
    connection: Connection, merchant: str, numbers: Sequence[str], *, if_free: bool
) -> dict[str, Order]:
    """Those of the orders that are there, locked; ``if_free``: but not by somebody else."""
    given = {"of_merchant": merchant, "numbers": list(numbers)}
    rows = connection.execute(_LOCKED_IF_FREE if if_free else _LOCKED, given)
    return {row.order_no: order_of(row._mapping) for row in rows}


def orders_by_number(
    connection: Connection, merchant: str, numbers: Sequence[str]
) -> dict[str, Order]:
    """Those of the orders that are there, not locked."""
    rows = connection.execute(_BY_NUMBER, {"of_merchant": merchant, "numbers": list(numbers)})
    return {row.order_no: order_of(row._mapping) for row in rows}


def insert_orders(connection: Connection, rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Insert orders of one merchant; number and id of those whose number was not there."""
    key, answer = ("merchant", "order_no"), ("order_no", "id")
    written = insert_rows(connection, orders, rows, unless=key, returning=answer)
    return {row.order_no: row.id for row in written}


def update_order(connection: Connection, order_id: int, values: dict[str, Any]) -> None:
    """Write columns of an order that is locked."""
    update_row(connection, orders, {"id": order_id}, values)


def keep_figures(connection: Connection, order_id: int, figures: Figures, at: datetime) -> None:
    """Write down what the provider said of a whole order, and when; both are of one answer."""
    values = {"provider_refunded": figures.refunded, "provider_left": figures.left}
    update_order(connection, order_id, values | {"figures_at": at})


def wake_no_later(connection: Connection, order_id: int, at: datetime) -> None:
    """Have an order that is to be woken at all woken at ``at`` at the latest."""
    later = and_(orders.c.id == order_id, orders.c.wake_at > at)
    connection.execute(update(orders).where(later).values(wake_at=at))


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
