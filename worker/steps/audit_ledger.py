"""Audit: holds a whole ledger against the promises while others work on it."""

from collections.abc import Iterator

from worker.audit import Finding, audit_order
from worker.ledger.engine import Ledger
from worker.ledger.whole import next_whole_orders, stopped_accounts


def audit_all_orders(ledger: Ledger) -> Iterator[list[Finding]]:
    """What is found of each order, the oldest first; none is seen in the midst of a change.

    Raises:
        ServiceAway: the ledger does not answer.
    """
    last = 0
    while True:
        with ledger.snapshot() as connection:
            now = ledger.now(connection)
            stopped = stopped_accounts(connection, now)
            chunk = next_whole_orders(connection, last)
        if not chunk:
            return
        for whole in chunk:
            yield audit_order(whole, stopped, now)
        last = chunk[-1].order.id
