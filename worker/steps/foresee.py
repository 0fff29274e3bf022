"""What intake would say of jobs now, by its own decision; nothing is locked, nothing written."""

from collections.abc import Sequence

from sqlalchemy import Connection

from worker.errors import Refused
from worker.ledger.engine import Ledger
from worker.ledger.guards import NO_GUARDS
from worker.ledger.orders import orders_by_number
from worker.ledger.refunds import used_numbers
from worker.steps.intake_lot import Accepted, Desk, Job, Placed, place


def foresee(
    connection: Connection,
    ledger: Ledger,
    merchant: str,
    jobs: Sequence[Job],
    before: Desk | None = None,
) -> tuple[list[Placed | Accepted | Refused], Desk]:
    """What would become of each if those before it had come; Placed: it would be a refund.

    Args:
        connection: to read by.
        ledger: of the connection.
        merchant: whose jobs they are.
        jobs: no number twice.
        before: what the jobs before these have left on the desk, of the order that is next.
    """
    desk = Desk(
        connection=connection,
        now=ledger.now(connection),
        guards={job.request.account: NO_GUARDS for job in jobs},
        orders=orders_by_number(connection, merchant, [job.request.order_no for job in jobs]),
        found=used_numbers(connection, merchant, [job.request.refund_no for job in jobs]),
        busy=set(),
    )
    if before is not None:
        _carry(before, desk, jobs[0].request.order_no)
    return [place(desk, job) for job in jobs], desk


def _carry(before: Desk, desk: Desk, order_no: str) -> None:
    """The order in which the lot before ended, as it would be by then."""
    if order_no in before.changed:
        desk.orders[order_no] = before.orders[order_no]
        desk.placed[order_no] = before.placed[order_no]
        desk.changed[order_no] = before.changed[order_no]
