"""Whose turn it is on an order, and from when it may go."""

from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import Connection

from worker.ledger.journal import open_case
from worker.ledger.orders import get_order, update_order
from worker.ledger.query_first import has_uncleared
from worker.ledger.refunds import head_of_order
from worker.ledger.rows import Head, Order
from worker.refund import QUEUED, Case
from worker.runtime import Runtime
from worker.steps import breaker

_log = structlog.get_logger(__name__)

#: An order of an account that is paused, or asks first, is looked at again after this.
_PAUSED_AGAIN: Final = timedelta(seconds=60)
#: An account that is not configured any more is looked for again after this.
_ACCOUNT_AWAY: Final = timedelta(minutes=5)


def turn_of(
    connection: Connection, runtime: Runtime, order: Order, head: Head | None, now: datetime
) -> datetime | None:
    """From when the order's head may go; None: not before something else happens."""
    if head is None or order.stopped:
        return None
    refund = head.refund
    if refund.state is not QUEUED:
        return None
    if head.paused or refund.needs_approval:  # whoever lets it go on wakes the order, but not one
        return now + _PAUSED_AGAIN  # that is claimed while he commits
    asks_first = refund.query_first_since is not None
    if asks_first and has_uncleared(connection, order.id, runtime.resubmitting):
        return now + _PAUSED_AGAIN
    if refund.account not in runtime.lines:
        _log.error("submit.account_not_configured", account=refund.account)
        return now + _ACCOUNT_AWAY
    opens_at = breaker.waits_until(runtime.lines[refund.account].account, head.breaker, now)
    times = (refund.due_at, order.spaced_until, opens_at, now)
    return max(time for time in times if time is not None)


def hand_over_unaskable(
    connection: Connection, runtime: Runtime, head: Head | None, now: datetime
) -> None:
    """What has to be asked about first and cannot be waits for a person."""
    if head is None or head.refund.state is not QUEUED or not head.refund.uncleared:
        return
    refund = head.refund
    if refund.account in runtime.lines and not runtime.lines[refund.account].account.query:
        advice = f"compare with the provider, then: query-first end {refund.account} --even-so"
        evidence = {"state": refund.state, "restored": "it may have been sent", "do": advice}
        open_case(connection, refund.id, Case.UNASKABLE, evidence, now)


def has_work(runtime: Runtime, order_id: int) -> bool:
    """Whether a refund came in between the last look and letting go of the lock."""
    return _due_account(runtime, order_id) is not None


def has_room(runtime: Runtime, order_id: int) -> bool:
    """Take a place within the rate limit for the order's head, where there is one to take.

    Without room the order is woken when there may be; until then it is nobody's work. No
    transaction is open while Redis is asked.
    """
    if not runtime.limited:
        return True
    name = _due_account(runtime, order_id)
    wait_s = runtime.limits.take(runtime.lines[name].account) if name else 0
    if not wait_s:
        return True
    with runtime.ledger.write() as connection:
        wake_at = runtime.ledger.now(connection) + timedelta(seconds=wait_s)
        update_order(connection, order_id, {"wake_at": wake_at})
    return False


def _due_account(runtime: Runtime, order_id: int) -> str | None:
    """The account of the refund that may go now, if one may."""
    with runtime.ledger.read() as connection:
        order = get_order(connection, order_id)
        now = runtime.ledger.now(connection)
        head = head_of_order(connection, order_id, lock=False)
        turn = turn_of(connection, runtime, order, head, now)
    return head.refund.account if head and turn is not None and turn <= now else None
