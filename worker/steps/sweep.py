"""Sweep: finds what nobody works on. Safe to run twice, at once, and late."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from worker.decisions import reap
from worker.ledger.engine import Ledger
from worker.ledger.journal import open_case
from worker.ledger.orders import claim_orders_to_wake, lock_order
from worker.ledger.refunds import (
    attempts_past_lease,
    claim_aged,
    finish_attempt,
    get_attempt,
    lock_refund,
    update_refund,
)
from worker.refund import OPEN, SUBMITTING, Attempt, Case
from worker.runtime import Runtime
from worker.steps.holds import hand_over_held
from worker.steps.notify import look_again
from worker.steps.record import record
from worker.steps.scene import Scene

_log = structlog.get_logger(__name__)

#: Rows of each kind that one sweep takes.
BATCH: Final = 500
#: A woken order that nobody has worked on is woken again after this.
WAKE_AGAIN: Final = timedelta(seconds=60)


@dataclass(frozen=True, kw_only=True, slots=True)
class Swept:
    """What a sweep has found."""

    reaped: int
    aged: int
    #: Orders that have work to do now.
    wake: list[int]


def sweep(runtime: Runtime, limit: int = BATCH) -> Swept:
    """Reap attempts past their lease, hand old refunds and holds to people, wake orders.

    Raises:
        ServiceAway: the ledger does not answer.
    """
    reaped = _reap(runtime, limit)
    heard = look_again(runtime, limit)
    aged = _hand_to_people(runtime.ledger, limit) + hand_over_held(runtime, limit)
    with runtime.ledger.write() as connection:
        now = runtime.ledger.now(connection)
        wake = claim_orders_to_wake(connection, now, now + WAKE_AGAIN, limit)
    return Swept(reaped=reaped, aged=aged, wake=[*wake, *heard])


def _reap(runtime: Runtime, limit: int) -> int:
    with runtime.ledger.read() as connection:
        now = runtime.ledger.now(connection)
        found = attempts_past_lease(connection, now, limit)
    return sum(_reap_one(runtime, *attempt) for attempt in found)


def _reap_one(runtime: Runtime, order_id: int, refund_id: int, number: int) -> bool:
    """An attempt past its lease may have been sent: unknown, never back to queued."""
    with runtime.ledger.write() as connection:
        order = lock_order(connection, order_id)
        refund = lock_refund(connection, refund_id)
        attempt = get_attempt(connection, refund_id, number)
        now = runtime.ledger.now(connection)
        if attempt.status is not Attempt.STARTED or attempt.lease_until >= now:
            return False
        if refund.state is not SUBMITTING:  # a positive answer was first
            values = {"status": Attempt.UNKNOWN, "finished_at": now}
            finish_attempt(connection, refund_id, number, values)
            return True
        line = runtime.lines.get(refund.account)
        if line is None:
            _log.error("sweep.account_not_configured", account=refund.account)
            return False
        scene = Scene(connection=connection, order=order, refund=refund, line=line, now=now)
        record(scene, reap(refund.standing), answered=number)
        return True


def _hand_to_people(ledger: Ledger, limit: int) -> int:
    with ledger.read() as connection:
        found = claim_aged(connection, ledger.now(connection), limit)
    return sum(_hand_over(ledger, order_id, refund_id) for order_id, refund_id in found)


def _hand_over(ledger: Ledger, order_id: int, refund_id: int) -> bool:
    """Open a case for a refund that has been open for too long; asking goes on."""
    with ledger.write() as connection:
        lock_order(connection, order_id)
        refund = lock_refund(connection, refund_id)
        now = ledger.now(connection)
        if refund.case_at is None or refund.case_at > now or refund.state not in OPEN:
            return False
        update_refund(connection, refund_id, {"case_at": None})
        evidence = {"state": refund.state, "since": refund.state_at.isoformat()}
        return open_case(connection, refund_id, Case.AGED, evidence, now)
