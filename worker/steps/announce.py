"""Announce: tells producers what has become of their refunds, at least once, in order.

This is the lane to Celery tasks; :mod:`worker.steps.announce_urls` is the other.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from refundry import Event, State
from worker.ledger import journal
from worker.ledger.journal import Announcement
from worker.refund import Case
from worker.runtime import Runtime
from worker.schedule import next_announcement

_log = structlog.get_logger(__name__)

#: Announcements that a tick claims.
BATCH: Final = 200
#: The claim's own lease: a publish fails within seconds, and none begins after ``PUBLISH_S``.
LEASE: Final = timedelta(seconds=60)
PUBLISH_S: Final = 30.0
#: Who cannot be told for so long is a case for a person; trying goes on.
TOO_LONG: Final = timedelta(days=1)

#: Hands one announcement over; raises if it was not taken. (target, payload)
Deliver = Callable[[dict[str, Any], dict[str, Any]], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Announced:
    """What a tick has done."""

    delivered: int
    not_taken: int


def announcement(
    event: Event,
    *,
    account: object,
    order_no: object,
    refund_no: object,
    amount: object,
    state: State | None = None,
    provider_refund_no: str | None = None,
    reason: str = "",
) -> dict[str, Any]:
    """What a producer is told (contract, "Announcement kwargs"); a refused job may lack names."""
    return {
        "event": event,
        "account": account,
        "order_no": order_no,
        "refund_no": refund_no,
        "amount": amount,
        "state": state,
        "provider_refund_no": provider_refund_no,
        "reason": reason,
    }


def announce(runtime: Runtime, deliver: Deliver, limit: int = BATCH) -> Announced:
    """Deliver what is due to tasks, the oldest announcement of each refund first.

    What a slow broker leaves no time for stays claimed, and is delivered when the claim runs out.

    Raises:
        ServiceAway: the ledger does not answer; what was delivered is delivered again.
    """
    ledger = runtime.ledger
    with ledger.write() as connection:
        now = ledger.now(connection)
        claimed = journal.due_announcements(connection, now, limit, by_url=False)
        journal.put_announcements_off(connection, [item.id for item in claimed], now + LEASE)
    ends_at = time.monotonic() + PUBLISH_S
    done: list[int] = []
    failed: list[Announcement] = []
    for item in claimed:
        if time.monotonic() > ends_at:
            break
        if _delivered(deliver, item):
            done.append(item.id)
        else:
            failed.append(item)
    if claimed:
        write_down(runtime, done, failed)
    return Announced(delivered=len(done), not_taken=len(failed))


def _delivered(deliver: Deliver, item: Announcement) -> bool:
    try:
        deliver(item.target, item.payload)
    except Exception as error:
        _log.warning(
            "announce.not_taken", refund_no=item.payload.get("refund_no"), error=str(error)
        )
        return False
    return True


def write_down(runtime: Runtime, done: list[int], failed: list[Announcement]) -> None:
    """Note what was taken, and when to try again what was not; after a day it is a case."""
    with runtime.ledger.write() as connection:
        now = runtime.ledger.now(connection)
        if done:
            journal.announced(connection, done, now)
        for item in failed:
            journal.announce_later(connection, item.id, next_announcement(item.tries, now))
            if item.refund_id is not None and _is_too_long(item, now):
                evidence = {"event": item.payload["event"], "tries": item.tries + 1}
                journal.open_case(connection, item.refund_id, Case.UNANNOUNCED, evidence, now)


def _is_too_long(item: Announcement, now: datetime) -> bool:
    return now - item.created_at > TOO_LONG
