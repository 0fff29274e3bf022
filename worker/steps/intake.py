"""Intake: takes a job into the ledger, or refuses it with a reason. Nothing is ever dropped.

One transaction: look the number up, make and lock the order, check, reserve, write refund, event
and announcement (protocol, "Intake").
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from refundry import Event, InvalidRequest, RefundRequest, State
from worker.errors import Conflict, Refused
from worker.ledger import journal
from worker.ledger.orders import insert_order_if_absent, lock_order_by_number, update_order
from worker.ledger.refunds import find_refund, insert_refund
from worker.ledger.rows import Order, Refund
from worker.refund import request_digest
from worker.runtime import Line, Runtime
from worker.schedule import person_due
from worker.steps.announce import announcement
from worker.steps.caps import check_amounts, check_count, marketing_of, new_facts
from worker.steps.record import WAKE_BACKUP
from worker.steps.refuse import refuse

_log = structlog.get_logger(__name__)

#: Two producers that insert the same number collide once, not many times.
_TRIES: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """The job is in the ledger; the order should be woken."""

    order_id: int
    refund_id: int
    #: The same job had been accepted before.
    repeated: bool


def take_job(runtime: Runtime, task: str, job: object) -> Accepted | None:
    """Accept a job, or record and announce its refusal and return None.

    Raises:
        ServiceAway: the ledger does not answer; the job must be kept and tried again.
    """
    try:
        return accept(runtime, job)
    except Refused as refusal:
        refuse(runtime, task, job, refusal)
        return None


def accept(runtime: Runtime, job: object) -> Accepted:
    """Accept a job.

    Raises:
        Refused: it cannot be done; nothing was written and no number is burned.
        ServiceAway: the ledger does not answer.
    """
    request = _read(job)
    line = runtime.line(request.account)
    problems = line.provider.check(request)
    if request.announce is not None and request.announce.url is not None:
        problems += line.webhooks.problems(request.announce.url)
    if problems:
        raise Refused("invalid", "; ".join(problems), problems)
    for _ in range(_TRIES - 1):
        try:
            return _accept_once(runtime, line, request)
        except IntegrityError:
            continue  # another intake was first: look again
    return _accept_once(runtime, line, request)


def fingerprint(request: RefundRequest) -> str:
    """What a refund number stands for: everything but where to announce and what was expected."""
    content = request.model_dump(mode="json", exclude={"announce", "expected_refunded"})
    if request.paid_at is not None:
        content["paid_at"] = request.paid_at.astimezone(UTC).isoformat()
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(job: object) -> RefundRequest:
    try:
        return RefundRequest.read(job)
    except InvalidRequest as error:
        raise Refused("invalid", str(error), error.problems) from None


def _accept_once(runtime: Runtime, line: Line, request: RefundRequest) -> Accepted:
    merchant = line.provider.merchant
    with runtime.ledger.write() as connection:
        found = find_refund(connection, merchant, request.refund_no)
        if found is not None:
            return _repeated(found, request)
        now = runtime.ledger.now(connection)
        insert_order_if_absent(connection, _order_values(merchant, request, now))
        order = lock_order_by_number(connection, merchant, request.order_no)
        found = find_refund(connection, merchant, request.refund_no)
        if found is not None:
            return _repeated(found, request)
        return _insert(connection, line, order, request, now)


def _repeated(found: Refund, request: RefundRequest) -> Accepted:
    if found.fingerprint != fingerprint(request):
        raise Conflict(
            "number_used",
            f"refund_no {request.refund_no!r} stands for another refund of {found.amount} fen; "
            "a used number always carries the same content, take a new one",
        )
    return Accepted(order_id=found.order_id, refund_id=found.id, repeated=True)


def _order_values(merchant: str, request: RefundRequest, now: datetime) -> dict[str, Any]:
    stated = request.paid_amount is not None
    return {
        "merchant": merchant,
        "order_no": request.order_no,
        "currency": request.currency,
        "order_amount": request.order_amount,
        "paid_amount": request.paid_amount if stated else request.order_amount,
        "paid_stated": stated,
        "refunded_before": request.refunded_before,
        "before_stated": "refunded_before" in request.model_fields_set,
        "paid_at": request.paid_at,
        "created_at": now,
    }


def _insert(
    connection: Connection, line: Line, order: Order, request: RefundRequest, now: datetime
) -> Accepted:
    facts = new_facts(order, request)
    paid = facts.get("paid_amount", order.paid_amount)
    spoken_for = order.spoken_for + facts.get("refunded_before", order.refunded_before)
    spoken_for -= order.refunded_before
    marketing = marketing_of(line, request)
    check_amounts(request, paid, spoken_for, marketing, order)
    check_count(connection, line, order)
    wake_at = order.wake_at or (None if order.stopped else now + WAKE_BACKUP)
    reserved = {
        "reserved": order.reserved + request.amount - marketing,
        "marketing_reserved": order.marketing_reserved + marketing,
        "wake_at": wake_at,
    }
    update_order(connection, order.id, facts | reserved)
    values = _refund_values(line, order, request, now) | {"marketing_amount": marketing}
    refund_id = insert_refund(connection, values)
    detail = _accepted_detail(order, request, facts) | {"marketing_amount": marketing}
    detail |= _doubts(line, request)
    journal.append_event(connection, refund_id, 1, State.QUEUED, "accepted", 0, detail, now)
    _announce_acceptance(connection, refund_id, request, now)
    return Accepted(order_id=order.id, refund_id=refund_id, repeated=False)


def _accepted_detail(order: Order, request: RefundRequest, facts: dict[str, Any]) -> dict[str, Any]:
    """What the first event keeps, so that an audit sees a row that was tampered with."""
    stated = ("account", "order_no", "refund_no", "amount", "order_amount")
    kept: dict[str, Any] = {name: getattr(request, name) for name in stated}
    for name in ("paid_amount", "refunded_before"):
        kept[name] = facts.get(name, getattr(order, name))
    return kept | {"from": None, "holds": False, "request": request_digest(_wire_fields(request))}


def _doubts(line: Line, request: RefundRequest) -> dict[str, Any]:
    """What the provider may trip over, for people who wonder later."""
    doubts = line.provider.doubts(request)
    if doubts:
        _log.warning("intake.doubts", refund_no=request.refund_no, doubts=doubts)
    return {"doubts": doubts} if doubts else {}


def _wire_fields(request: RefundRequest) -> dict[str, Any]:
    """What the provider's calls are made of, beside numbers and amounts."""
    return request.model_dump(mode="json", include={"reason", "operator", "items", "extra"})


def _refund_values(
    line: Line, order: Order, request: RefundRequest, now: datetime
) -> dict[str, Any]:
    announce = request.announce
    return {
        "order_id": order.id,
        "account": request.account,
        "merchant": order.merchant,
        "refund_no": request.refund_no,
        "amount": request.amount,
        "state": State.QUEUED,
        "holds_order": False,
        "releases": False,
        "event_seq": 1,
        "attempt": 0,
        "sent": 0,
        "open_sent": 0,
        "known": False,
        "not_found": 0,
        "fingerprint": fingerprint(request),
        "request": _wire_fields(request),
        "announce": announce.model_dump(exclude_none=True) if announce else None,
        "accepted_at": now,
        "state_at": now,
        "due_at": now,
        "case_at": person_due(line.account, pending=False, now=now),
    }


def _announce_acceptance(
    connection: Connection, refund_id: int, request: RefundRequest, now: datetime
) -> None:
    if request.announce is None:
        return
    payload = announcement(
        Event.ACCEPTED,
        account=request.account,
        order_no=request.order_no,
        refund_no=request.refund_no,
        amount=request.amount,
        state=State.QUEUED,
    )
    target = request.announce.model_dump(exclude_none=True)
    journal.add_announcement(connection, refund_id, Event.ACCEPTED, target, payload, now)
