"""Announce by URL: rounds of posts in threads of their own, so that no tick waits for a receiver.

A tick claims only what it can start at once. A round goes to one receiver, makes no call after
:data:`ROUND_S`, and ends at the first call without an answer; what it did not reach is due again.
"""

import time
from collections import defaultdict
from concurrent.futures import Future
from datetime import timedelta
from functools import partial
from typing import Final

import structlog

from worker.announcing.destinations import receiver_of
from worker.errors import NotTaken, RefundryError, ServiceAway
from worker.ledger import journal
from worker.ledger.journal import Announcement
from worker.runtime import Runtime
from worker.steps.announce import BATCH, write_down
from worker.steps.faults import fault

_log = structlog.get_logger(__name__)

#: Announcements of one round.
ROUND: Final = 50
#: A round makes no call after so long.
ROUND_S: Final = 5.0
#: The claim's own lease: a round's calls take ``ROUND_S`` and one call's total time at most.
LEASE: Final = timedelta(seconds=60)

Rounds = dict[str, list[Announcement]]


def announce_urls(runtime: Runtime, limit: int = BATCH) -> list[Future[None]]:
    """Start posting what is due, as far as couriers are free; returns the rounds it started.

    Raises:
        ServiceAway: the ledger does not answer.
    """
    couriers = runtime.couriers
    if not couriers.handing_out.acquire(blocking=False):
        return []
    try:
        rounds = _claim(runtime, limit) if couriers.free else {}
        return [
            couriers.start(receiver, partial(_go_round, runtime, items))
            for receiver, items in rounds.items()
        ]
    finally:
        couriers.handing_out.release()


def _claim(runtime: Runtime, limit: int) -> Rounds:
    ledger, couriers = runtime.ledger, runtime.couriers
    with ledger.write() as connection:
        now = ledger.now(connection)
        due = journal.due_announcements(connection, now, limit, by_url=True, but_not=couriers.full)
        rounds = _rounds(due, couriers.free)
        ids = [item.id for items in rounds.values() for item in items]
        journal.put_announcements_off(connection, ids, now + LEASE)
    return rounds


def _rounds(due: list[Announcement], most: int) -> Rounds:
    """One round a receiver, those that wait longest first."""
    by_receiver: Rounds = defaultdict(list)
    for item in due:
        by_receiver[receiver_of(item.target["url"])].append(item)
    return {who: items[:ROUND] for who, items in list(by_receiver.items())[:most]}


def _go_round(runtime: Runtime, items: list[Announcement]) -> None:
    """What fails here is posted again when the claim runs out."""
    try:
        reached = _post_all(runtime, items)
        if left := items[reached:]:
            with runtime.ledger.write() as connection:
                now = runtime.ledger.now(connection)
                journal.put_announcements_off(connection, [item.id for item in left], now)
    except ServiceAway as error:
        _log.warning("announce.round_not_committed", error=str(error))
    except Exception as error:
        _log.error("announce.round_fault", **fault(error))


def _post_all(runtime: Runtime, items: list[Announcement]) -> int:
    """Post one after the other; how many were tried."""
    ends_at = time.monotonic() + ROUND_S
    for number, item in enumerate(items, start=1):
        if not _post(runtime, item) or time.monotonic() > ends_at:
            return number
    return len(items)


def _post(runtime: Runtime, item: Announcement) -> bool:
    """Post one and write down what came of it; False: the receiver does not answer."""
    failure = _failure(runtime, item)
    if failure is None:
        write_down(runtime, [item.id], [])
        return True
    _log.warning(
        "announce.not_taken",
        refund_no=item.payload["refund_no"],
        receiver=receiver_of(item.target["url"]),
        error=str(failure) if isinstance(failure, RefundryError) else type(failure).__name__,
    )
    write_down(runtime, [], [item])
    return isinstance(failure, NotTaken)


def _failure(runtime: Runtime, item: Announcement) -> Exception | None:
    """Why an announcement was not taken. No fault of one may keep others from being posted."""
    account = item.payload["account"]
    try:
        if account not in runtime.lines:
            raise NotTaken(f"account {account!r} is not configured any more")
        webhooks = runtime.lines[account].webhooks
        webhooks.post(item.target["url"], _message_id(item), item.payload)
    except Exception as error:
        return error
    return None


def _message_id(item: Announcement) -> str:
    """The same in every try; never that of another, even where a backup brings a number back."""
    return f"msg_{item.id}_{item.created_at:%Y%m%d%H%M%S%f}"
