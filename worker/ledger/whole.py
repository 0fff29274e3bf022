"""Reads orders with all that belongs to them, for the audit: in chunks, each by its index."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, or_, select

from worker.ledger.archive import archived_of
from worker.ledger.callbacks import merchants_of_callbacks
from worker.ledger.proposals import approved_proposals
from worker.ledger.refunds import refund_rows
from worker.ledger.rows import Order, order_of
from worker.ledger.tables import accounts, attempts, cases, events, orders, refunds

#: Orders read at once.
CHUNK: Final = 200

#: What an attempt keeps for people; no promise hangs on it.
_UNREAD: Final = ("request", "answer")

Values = dict[str, Any]


@dataclass(kw_only=True, slots=True)
class WholeRefund:
    """A refund's row with its events, attempts and cases, each in its order.

    Events and attempts are here wherever they are kept; what the archive has of them stands in
    ``archived`` as well, by the names of its tables, with its lots in ``archives``.
    """

    #: With its account's ``query_first_since``.
    row: Values
    events: list[Values] = field(default_factory=list)
    attempts: list[Values] = field(default_factory=list)
    cases: list[Values] = field(default_factory=list)
    archived: dict[str, list[Values]] = field(default_factory=dict)
    #: Settlements that two persons brought about.
    approved: list[Values] = field(default_factory=list)
    #: Merchants whose notifications are stored as this refund's.
    told_by: set[str] = field(default_factory=set)


@dataclass(kw_only=True, slots=True)
class WholeOrder:
    """An order with its refunds, in the order of intake."""

    order: Order
    refunds: list[WholeRefund] = field(default_factory=list)


def next_whole_orders(connection: Connection, last: int) -> list[WholeOrder]:
    """The next orders behind the one of that id, the oldest first."""
    rows = connection.execute(
        select(orders).where(orders.c.id > last).order_by(orders.c.id).limit(CHUNK)
    )
    return list(_with_refunds(connection, rows.all()))


def whole_orders_of(connection: Connection, ids: Collection[int]) -> Iterator[WholeOrder]:
    """Those of the orders, the oldest first."""
    rows = connection.execute(
        select(orders).where(orders.c.id.in_(sorted(ids))).order_by(orders.c.id)
    )
    yield from _with_refunds(connection, rows.all())


def stopped_accounts(connection: Connection, now: datetime) -> set[str]:
    """Names of the accounts that are paused, or whose breaker is open."""
    stopped = or_(accounts.c.paused_at.is_not(None), accounts.c.breaker_until > now)
    return set(connection.execute(select(accounts.c.name).where(stopped)).scalars())


def _with_refunds(connection: Connection, rows: Any) -> Iterator[WholeOrder]:
    found = {row.id: WholeOrder(order=order_of(row._mapping)) for row in rows}
    by_id: dict[int, WholeRefund] = {}
    query = refund_rows().where(refunds.c.order_id.in_(found)).order_by(refunds.c.id)
    for row in connection.execute(query):
        whole = WholeRefund(row=dict(row._mapping))
        by_id[row.id] = whole
        found[row.order_id].refunds.append(whole)
    for table, name in ((events, "events"), (attempts, "attempts"), (cases, "cases")):
        for refund_id, rows_of_it in _grouped(connection, table, list(by_id)).items():
            setattr(by_id[refund_id], name, rows_of_it)
    for refund_id, archived in archived_of(connection, list(by_id)).items():
        _join(by_id[refund_id], archived)
    for one in approved_proposals(connection, list(by_id)):
        by_id[one["refund_id"]].approved.append(one)
    for refund_id, merchant in merchants_of_callbacks(connection, list(by_id)):
        by_id[refund_id].told_by.add(merchant)
    yield from found.values()


def _join(refund: WholeRefund, archived: dict[str, list[Values]]) -> None:
    """The archive's rows and the ledger's as one history; a row that both have is there twice."""
    refund.archived = archived
    events, attempts = (archived.get(f"archived_{name}", []) for name in ("events", "attempts"))
    refund.events = sorted([*events, *refund.events], key=lambda row: int(row["seq"]))
    refund.attempts = sorted([*attempts, *refund.attempts], key=lambda row: int(row["number"]))


def _grouped(connection: Connection, table: Any, ids: list[int]) -> dict[int, list[Values]]:
    grouped: dict[int, list[Values]] = defaultdict(list)
    if not ids:
        return grouped
    read = (column for column in table.c if column.name not in _UNREAD)
    query = select(*read).where(table.c.refund_id.in_(ids)).order_by(*table.primary_key.columns)
    row: Row[Any]
    for row in connection.execute(query):
        grouped[row.refund_id].append(dict(row._mapping))
    return grouped
