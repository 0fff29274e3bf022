"""Takes the jobs of one merchant into the ledger, all in one transaction."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from refundry import Event, RefundRequest, State
from worker.errors import Conflict, Raced, Refused, RowsLocked
from worker.ledger import journal
from worker.ledger.engine import Ledger
from worker.ledger.guards import NO_GUARDS, Guards, guards_of
from worker.ledger.orders import (
    ensure_account,
    find_order,
    insert_orders,
    lock_orders_by_number,
    update_order,
)
from worker.ledger.personal_data import keep_sealed
from worker.ledger.refunds import insert_refunds, orders_with_open, used_numbers
from worker.ledger.rows import Order, UsedNumber
from worker.lots import UNDONE, Undone
from worker.refund import Case
from worker.runtime import Line
from worker.seals import Sealed
from worker.steps.caps import check_amounts, check_count, marketing_of, new_facts
from worker.steps.intake_rows import (
    NOT_YET,
    acceptance,
    accepted_detail,
    is_large,
    new_order,
    new_order_row,
    new_refund,
    refund_row,
)
from worker.steps.intent import Intent, is_past_window, write_intent
from worker.steps.record import WAKE_BACKUP
from worker.steps.scene import Scene
from worker.steps.sealing import as_kept, refuse_other


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What a producer asks for."""

    request: RefundRequest
    line: Line
    #: The sender's clock, where it is to be sent at once.
    began: float | None
    #: What it says of a person, which nothing else of it does.
    sealed: Sealed | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """The job is in the ledger."""

    order_id: int
    refund_id: int
    #: The same job had been accepted before.
    repeated: bool
    #: What the caller is to send now; else the order should be woken.
    intent: Intent | None = None
    #: Unless another refund of the order goes first: who works on that one looks again.
    waits: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """A job that fits its order."""

    job: Job
    row: dict[str, Any]
    #: Of the first event.
    detail: dict[str, Any]
    begins: bool
    waits: bool


@dataclass(kw_only=True)
class Desk:
    """What jobs are held against, and what becomes of it."""

    connection: Connection
    now: datetime
    guards: dict[str, Guards]
    #: By number, as they are with the jobs that were placed so far.
    orders: dict[str, Order]
    found: dict[str, UsedNumber]
    #: Numbers of orders of which a refund is open.
    busy: set[str]
    #: What was said of orders that were there, to be written.
    changed: dict[str, dict[str, Any]] = field(default_factory=dict)
    placed: Counter[str] = field(default_factory=Counter)


def take_together(
    ledger: Ledger, merchant: str, jobs: list[Job], patient: bool
) -> Sequence[Accepted | Refused | Undone]:
    """Take them all, each as if it were alone: what is refused writes nothing.

    Raises:
        Raced: another intake has made the order meanwhile; look again.
    """
    try:
        with ledger.write() as connection:
            return take_within(connection, ledger, merchant, jobs, patient)
    except RowsLocked:
        if patient:
            raise
        return [UNDONE] * len(jobs)


def take_within(
    connection: Connection, ledger: Ledger, merchant: str, jobs: list[Job], patient: bool
) -> Sequence[Accepted | Refused | Undone]:
    """The same in the caller's transaction, which is undone where it raises."""
    desk = _open_desk(connection, ledger, merchant, jobs, patient)
    return _write(desk, [_judged(desk, merchant, job, patient) for job in jobs], patient)


def _open_desk(
    connection: Connection, ledger: Ledger, merchant: str, jobs: Iterable[Job], patient: bool
) -> Desk:
    lines = {job.line.account.name: job.line for job in jobs}
    now, guards = guards_of(connection, ledger.time, lines, patient=patient)
    for name in set(lines) - set(guards):  # an older ledger has not seen it yet
        ensure_account(connection, name, lines[name].account.provider, merchant)
        guards[name] = NO_GUARDS
    numbers = list({job.request.order_no for job in jobs})
    orders = lock_orders_by_number(connection, merchant, numbers, if_free=not patient)
    found = used_numbers(connection, merchant, [job.request.refund_no for job in jobs])
    ids = {order.id: number for number, order in orders.items()}
    open_ids = orders_with_open(connection, list(ids)) if ids else set()
    return Desk(
        connection=connection,
        now=now,
        guards=guards,
        orders=orders,
        found=found,
        busy={ids[order_id] for order_id in open_ids},
    )


def _judged(
    desk: Desk, merchant: str, job: Job, patient: bool
) -> Placed | Accepted | Refused | Undone:
    """What is to become of a job; refused for its order only by who has seen that.

    An order that somebody has locked looks like one that is not there yet.
    """
    result, number = place(desk, job), job.request.order_no
    if patient or not isinstance(result, Refused) or isinstance(result, Conflict):
        return result
    order = desk.orders.get(number)
    is_seen = order is not None and order.id != NOT_YET
    return result if is_seen or find_order(desk.connection, merchant, number) is None else UNDONE


def place(desk: Desk, job: Job) -> Placed | Accepted | Refused:
    """What is to become of a job; the desk knows its order as it is with it. Writes nothing."""
    try:
        found = desk.found.get(job.request.refund_no)
        return _fit(desk, job) if found is None else _repeated(desk, found, job)
    except Refused as refusal:
        return refusal


def _repeated(desk: Desk, found: UsedNumber, job: Job) -> Accepted:
    refuse_other(desk.connection, found, job.request, job.sealed)
    return Accepted(order_id=found.order_id, refund_id=found.id, repeated=True)


def _fit(desk: Desk, job: Job) -> Placed:
    """Reserve; raises Refused where it is not to be."""
    request, line, now = job.request, job.line, desk.now
    sealed = job.sealed.names if job.sealed else ()
    merchant, number = line.provider.merchant, job.request.order_no
    order = desk.orders.get(number) or new_order(merchant, request, now)
    facts = new_facts(order, request)
    paid = facts.get("paid_amount", order.paid_amount)
    spoken_for = order.spoken_for + facts.get("refunded_before", order.refunded_before)
    spoken_for -= order.refunded_before
    marketing = marketing_of(line, request)
    check_amounts(request, paid, spoken_for, marketing, order)
    check_count(desk.connection, line, order, desk.placed[number])
    known = replace(order, **facts) if facts else order
    begins = _may_begin(desk, job, known)
    changed = facts | {
        "reserved": order.reserved + request.amount - marketing,
        "marketing_reserved": order.marketing_reserved + marketing,
        "wake_at": None if begins else _wake_at(known, now),
    }
    waits = number in desk.busy
    desk.orders[number] = replace(known, **changed)
    desk.changed.setdefault(number, {}).update(changed)
    desk.placed[number] += 1
    desk.busy.add(number)
    return Placed(
        job=job,
        row=refund_row(line, known, request, marketing, now, sealed),
        detail=accepted_detail(line, known, request, marketing, sealed),
        begins=begins,
        waits=waits,
    )


def _wake_at(order: Order, now: datetime) -> datetime | None:
    return order.wake_at or (None if order.stopped else now + WAKE_BACKUP)


def _may_begin(desk: Desk, job: Job, order: Order) -> bool:
    """Whether nothing that T1 looks at stands in the way of sending it at once."""
    guards, account = desk.guards[job.request.account], job.line.account
    return (
        job.began is not None
        and job.sealed is None
        and account.rate_limit is None
        and not is_large(account, job.request)
        and order.order_no not in desk.busy
        and not order.stopped
        and not guards.paused
        and guards.breaker.until is None
        and guards.query_first_since is None
        and (order.spaced_until is None or order.spaced_until <= desk.now)
        and not is_past_window(job.line, order, desk.now)
    )


def _write(
    desk: Desk, results: list[Placed | Accepted | Refused | Undone], patient: bool
) -> Sequence[Accepted | Refused | Undone]:
    """All that was placed; what could not be, for somebody has its order, is left undone."""
    _write_orders(desk)
    placed = [
        one
        for one in results
        if isinstance(one, Placed) and desk.orders[one.job.request.order_no].id != NOT_YET
    ]
    rows = [one.row | {"order_id": desk.orders[one.job.request.order_no].id} for one in placed]
    ids = insert_refunds(desk.connection, rows) if rows else {}
    accepted = {
        row["refund_no"]: _write_one(desk, one, row, ids[row["refund_no"]])
        for one, row in zip(placed, rows, strict=True)
    }
    if patient and len(placed) < sum(isinstance(one, Placed) for one in results):
        raise Raced("another intake has made the order meanwhile")
    return [
        accepted.get(one.job.request.refund_no, UNDONE) if isinstance(one, Placed) else one
        for one in results
    ]


def _write_orders(desk: Desk) -> None:
    for number, changed in desk.changed.items():
        if desk.orders[number].id != NOT_YET:
            update_order(desk.connection, desk.orders[number].id, changed)
    new = [number for number in sorted(desk.changed) if desk.orders[number].id == NOT_YET]
    if not new:
        return
    rows = [new_order_row(desk.orders[number]) for number in new]
    for number, order_id in insert_orders(desk.connection, rows).items():
        desk.orders[number] = replace(desk.orders[number], id=order_id)


def _write_one(desk: Desk, placed: Placed, row: dict[str, Any], refund_id: int) -> Accepted:
    """Event, announcement and intent of one refund."""
    connection, now, job = desk.connection, desk.now, placed.job
    request, order = job.request, desk.orders[job.request.order_no]
    journal.append_event(connection, refund_id, 1, State.QUEUED, "accepted", 0, placed.detail, now)
    if request.announce is not None:
        target = request.announce.model_dump(exclude_none=True)
        told = acceptance(request)
        journal.add_announcement(connection, refund_id, Event.ACCEPTED, target, told, now)
    if job.sealed is not None:
        keep_sealed(connection, refund_id, as_kept(job.sealed), now)
    if row["needs_approval"]:
        evidence = {"amount": row["amount"], "operator": request.operator}
        journal.open_case(connection, refund_id, Case.APPROVAL, evidence, now)
    intent = None
    if placed.begins and job.began is not None:
        refund = new_refund(row, refund_id)
        scene = Scene(connection=connection, order=order, refund=refund, line=job.line, now=now)
        intent = write_intent(scene, desk.guards[request.account].breaker, job.began)
    return Accepted(
        order_id=order.id,
        refund_id=refund_id,
        repeated=False,
        intent=intent,
        waits=placed.waits,
    )
