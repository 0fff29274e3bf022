"""Holds: an order's refunds are kept from being sent while something else is under way.

A hold never ends by itself. It has a token; who holds it gets the same one again, and a person may
release it without, with a reason. After an hour it is a case.
"""

import secrets
from datetime import datetime

from sqlalchemy import Connection

from worker.case_rules import Deed
from worker.errors import Refused
from worker.ledger.cases import find_open_case, held_orders, update_case
from worker.ledger.engine import Ledger
from worker.ledger.journal import add_entry, open_case_about
from worker.ledger.orders import find_order, lock_order, update_order
from worker.ledger.query_first import has_uncleared
from worker.ledger.refunds import head_of_order
from worker.ledger.rows import Order
from worker.refund import Case
from worker.runtime import Line, Runtime
from worker.schedule import person_due_of_hold
from worker.steps.command import MAY_HAVE_BEEN_SENT
from worker.steps.people import Person, checked_name


def hold_order(runtime: Runtime, account: str, order_no: str, by: str | None = None) -> str:
    """Keep refunds of an order from being sent; returns the token that releases it.

    ``by`` is the person who holds it, and who gets the token again by holding it again.

    Raises:
        Refused: no such order, somebody holds it, or a refund is, or may be, under way.
        ServiceAway: the ledger does not answer.
    """
    name = None if by is None else checked_name(by)
    with runtime.ledger.write() as connection:
        order = _lock_order(connection, runtime, account, order_no)
        if order.hold_token is not None:
            if name is not None and order.held_by == name:
                return order.hold_token
            who = f" by {order.held_by}" if order.held_by else ""
            raise Refused("held", f"order {order_no!r} is held{who} since {order.held_at}")
        _refuse_under_way(connection, runtime, order)
        token = secrets.token_hex(16)
        held = {"hold_token": token, "held_at": runtime.ledger.now(connection), "held_by": name}
        update_order(connection, order.id, held | {"wake_at": None})
    return token


def _refuse_under_way(connection: Connection, runtime: Runtime, order: Order) -> None:
    if has_uncleared(connection, order.id, runtime.resubmitting):
        raise Refused("query_first", f"a refund of order {order.order_no!r} {MAY_HAVE_BEEN_SENT}")
    head = head_of_order(connection, order.id, lock=True)
    if head is not None and head.refund.standing.holds:
        raise Refused("busy", f"refund {head.refund.refund_no!r} of the order is under way")


def release_order(runtime: Runtime, account: str, order_no: str, token: str) -> int:
    """Let refunds of a held order go again; returns the order to wake.

    Raises:
        Refused: no such order, not held, or another token.
        ServiceAway: the ledger does not answer.
    """
    with runtime.ledger.write() as connection:
        order = _lock_order(connection, runtime, account, order_no)
        if order.hold_token is None or not _same(order.hold_token, token):
            raise Refused("not_held", f"order {order_no!r} is not held under this token")
        _release(connection, runtime.ledger, order)
    return order.id


def release_by_hand(runtime: Runtime, account: str, order_no: str, who: Person) -> int:
    """The same without the token; the person and the reason are kept in a case of the hold.

    Raises:
        Refused: no such order, or it is not held.
        ServiceAway: the ledger does not answer.
    """
    with runtime.ledger.write() as connection:
        order = _lock_order(connection, runtime, account, order_no)
        if order.hold_token is None:
            raise Refused("not_held", f"order {order_no!r} is not held")
        if find_open_case(connection, order.id, Case.HELD) is None:
            _open_case(connection, runtime.ledger, order, account)
        _close_case(connection, runtime.ledger, order, who)
        _release(connection, runtime.ledger, order)
    return order.id


def _close_case(connection: Connection, ledger: Ledger, order: Order, who: Person) -> None:
    case, now = find_open_case(connection, order.id, Case.HELD), ledger.now(connection)
    if case is not None:
        for deed in (Deed.RELEASED, Deed.CLOSED):
            add_entry(connection, case.id, deed, who.name, now, who.reason, who.detail)
        update_case(connection, case.id, {"closed_at": now})


def hand_over_held(runtime: Runtime, limit: int) -> int:
    """Open a case for each order that has been held for too long; it stays held."""
    with runtime.ledger.read() as connection:
        now = runtime.ledger.now(connection)
        found = held_orders(connection, limit)
    lines = {one.id: runtime.lines.get(one.account) for one in found}
    late = [one for one in found if now >= _case_due(one.held_at, lines[one.id])]
    return sum(_hand_over(runtime.ledger, one.id, one.account) for one in late)


def _case_due(held_at: datetime, line: Line | None) -> datetime:
    """An account that is not set up any more shortens nothing."""
    return person_due_of_hold(held_at, line.account if line else None)


def _hand_over(ledger: Ledger, order_id: int, account: str) -> bool:
    with ledger.write() as connection:
        order = lock_order(connection, order_id)
        return order.held_at is not None and _open_case(connection, ledger, order, account)


def _open_case(connection: Connection, ledger: Ledger, order: Order, account: str) -> bool:
    evidence = {"held_at": str(order.held_at), "held_by": order.held_by}
    now = ledger.now(connection)
    return open_case_about(
        connection, account, Case.HELD, order.order_no, evidence, now, order_id=order.id
    )


def _release(connection: Connection, ledger: Ledger, order: Order) -> None:
    free = dict.fromkeys(("hold_token", "held_at", "held_by"))
    update_order(connection, order.id, free | {"wake_at": ledger.now(connection)})


def _lock_order(connection: Connection, runtime: Runtime, account: str, order_no: str) -> Order:
    order = find_order(connection, runtime.line(account).provider.merchant, order_no)
    if order is None:
        raise Refused("not_found", f"account {account!r} has no order {order_no!r}")
    return lock_order(connection, order.id)


def _same(token: str, other: str) -> bool:
    """Compared as bytes: of texts the comparison takes ASCII only."""
    return secrets.compare_digest(token.encode(), other.encode(errors="replace"))
