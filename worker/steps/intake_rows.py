"""The rows that a job becomes, and the order that it finds or makes. Pure, but for a log line."""

import hashlib
import json
from collections.abc import Collection
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from config.accounts import Account
from refundry import Event, RefundRequest, State
from worker.ledger.rows import Order, Refund, order_of, refund_of
from worker.personal import SEALED_NAMES
from worker.refund import request_digest
from worker.runtime import Line
from worker.schedule import person_due
from worker.steps.announce import announcement

_log = structlog.get_logger(__name__)

#: The number of an order that is not in the ledger yet.
NOT_YET: Final = 0
#: What nothing is known of yet.
_NEW_ORDER: Final[dict[str, Any]] = {
    **dict.fromkeys(
        ("reserved", "refunded", "excess", "marketing_reserved", "marketing_refunded"), 0
    ),
    **dict.fromkeys(("wake_at", "spaced_until", "frozen_at", "hold_token", "held_at", "held_by")),
    **dict.fromkeys(("provider_refunded", "provider_left", "figures_at")),
}
_NEW_REFUND: Final[dict[str, Any]] = {
    **dict.fromkeys(("contested_reserved", "contested_excess", "contested_marketing", "asked"), 0),
    **dict.fromkeys(("provider_refund_no", "not_found_since", "asked_at", "last_answer")),
    **dict.fromkeys(("cleared_at", "query_first_since")),
    "reason": "",
}


def fingerprint(request: RefundRequest) -> str:
    """What a refund number stands for: everything but where to announce and what was expected."""
    content = request.model_dump(mode="json", exclude={"announce", "expected_refunded"})
    if request.paid_at is not None:
        content["paid_at"] = request.paid_at.astimezone(UTC).isoformat()
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def new_order(merchant: str, request: RefundRequest, now: datetime) -> Order:
    """An order that this job is the first to name."""
    stated = request.paid_amount is not None
    known = {
        "id": NOT_YET,
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
    return order_of(_NEW_ORDER | known)


def new_order_row(order: Order) -> dict[str, Any]:
    """The row of an order that is not in the ledger yet."""
    return {field.name: getattr(order, field.name) for field in fields(order) if field.name != "id"}


def refund_row(
    line: Line,
    order: Order,
    request: RefundRequest,
    marketing: int,
    now: datetime,
    sealed: Collection[str],
) -> dict[str, Any]:
    """The row of a refund that is queued; ``sealed`` names the fields that are kept elsewhere."""
    announce = request.announce
    return {
        "account": request.account,
        "merchant": order.merchant,
        "refund_no": request.refund_no,
        "amount": request.amount,
        "marketing_amount": marketing,
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
        "request": _wire_fields(request, sealed),
        "announce": announce.model_dump(exclude_none=True) if announce else None,
        "accepted_at": now,
        "state_at": now,
        "due_at": now,
        "case_at": person_due(line.account, pending=False, now=now),
        "needs_approval": is_large(line.account, request),
    }


def is_large(account: Account, request: RefundRequest) -> bool:
    """Whether a second person has to approve it before it is sent."""
    return account.approval_above is not None and request.amount > account.approval_above


def new_refund(row: dict[str, Any], refund_id: int) -> Refund:
    """The refund that a row has become."""
    return refund_of(_NEW_REFUND | row | {"id": refund_id})


def accepted_detail(
    line: Line, order: Order, request: RefundRequest, marketing: int, sealed: Collection[str]
) -> dict[str, Any]:
    """What the first event keeps, so that an audit sees a row that was tampered with."""
    stated = ("account", "order_no", "refund_no", "amount", "order_amount")
    kept: dict[str, Any] = {name: getattr(request, name) for name in stated}
    for name in ("paid_amount", "refunded_before"):
        kept[name] = getattr(order, name)
    digest = request_digest(_wire_fields(request, sealed))
    kept |= {"from": None, "holds": False, "request": digest}
    if is_large(line.account, request):
        kept["needs_approval"] = True
    return kept | {"marketing_amount": marketing} | _doubts(line, request)


def _doubts(line: Line, request: RefundRequest) -> dict[str, Any]:
    """What the provider may trip over, for people who wonder later."""
    doubts = line.provider.doubts(request)
    if doubts:
        _log.warning("intake.doubts", refund_no=request.refund_no, doubts=doubts)
    return {"doubts": doubts} if doubts else {}


def _wire_fields(request: RefundRequest, sealed: Collection[str]) -> dict[str, Any]:
    """What the provider's calls are made of, beside numbers and amounts."""
    fields = request.model_dump(mode="json", include={"reason", "operator", "items", "extra"})
    return fields | ({SEALED_NAMES: list(sealed)} if sealed else {})


def acceptance(request: RefundRequest) -> dict[str, Any]:
    """What the producer is told of it."""
    return announcement(
        Event.ACCEPTED,
        account=request.account,
        order_no=request.order_no,
        refund_no=request.refund_no,
        amount=request.amount,
        state=State.QUEUED,
    )
