"""``/refunds``: ask for a refund, see it, cancel it, have it sent again."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Response

from gateway.decode import JsonBody, body_of
from gateway.documents import body, problems
from gateway.entry import AllowedAccount, KnownCaller, require
from gateway.paths import RefundNumber, refund_path
from gateway.problems import Problem
from gateway.service import TheService
from gateway.shapes import (
    AttemptShown,
    Changed,
    OrderShown,
    RefundShown,
    RefusalShown,
    Resubmission,
    Taken,
)
from refundry import RefundRequest
from worker.errors import Refused
from worker.steps.command import cancel_refund, resubmit_refund
from worker.steps.intake import accept
from worker.steps.look import Seen, look
from worker.steps.refuse import refuse

router = APIRouter(tags=["refunds"])

#: Stands in the records of what was refused where a job has its task.
_BY_HTTP: Final = "POST /refunds"
#: What a record of a refusal keeps; never the provider's fields, which may be personal data.
_KEPT: Final = ("account", "order_no", "refund_no", "amount", "order_amount")
_EXAMPLE: Final = {
    "account": "shop-hkrt",
    "order_no": "1000234",
    "refund_no": "RF20260131000001",
    "amount": 4999,
    "order_amount": 12900,
    "reason": "returned",
    "announce": {"task": "shop.refund_announced", "queue": "shop"},
}


@router.post(
    "/refunds",
    status_code=202,
    response_model=Taken,
    summary="Ask for a refund",
    responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
    openapi_extra=body(RefundRequest, _EXAMPLE),
)
def request_refund(
    service: TheService, caller: KnownCaller, job: JsonBody, response: Response
) -> Taken:
    """Answered with 202 once the refund is in the ledger: from then on it is not lost.

    Send the same request again until it is answered; the same number with the same content is
    the same refund (`repeated`), with other content it is refused with 409. A refusal is answered
    here and not announced.
    """
    require(caller, _account_of(job))
    try:
        accepted = accept(service.runtime, job)
    except Refused as refusal:
        refuse(service.runtime, _BY_HTTP, _kept(job), refusal)
        raise
    service.bell.ring(accepted.order_id)
    taken = Taken.model_validate({**_kept(job, _KEPT[:3]), "repeated": accepted.repeated})
    response.headers["Location"] = refund_path(taken.account, taken.refund_no)
    return taken


def _account_of(job: Any) -> str:
    """The account that a job names; one that names none is refused for that."""
    account = job.get("account") if isinstance(job, dict) else None
    if not isinstance(account, str):
        said = "account: it is missing or no text"
        raise Problem(422, "invalid", said, problems=[said])
    return account


def _kept(job: Any, names: tuple[str, ...] = _KEPT) -> dict[str, Any]:
    """Numbers and amounts, where they are plain values."""
    return {name: job[name] for name in names if isinstance(job.get(name), str | int)}


@router.get(
    "/refunds/{account}/{refund_no}",
    response_model=RefundShown,
    summary="See where a refund stands",
    responses=problems(401, 403, 404, 422, 429, 503),
)
def show_refund(
    service: TheService, account: AllowedAccount, refund_no: RefundNumber
) -> RefundShown:
    """A refund that was refused is answered with 404, and why it was."""
    seen = look(service.runtime.ledger, account, refund_no)
    if isinstance(seen, Seen):
        return _shown(seen)
    if seen:
        refused = [RefusalShown.model_validate(one).model_dump(mode="json") for one in seen]
        raise Problem(404, "refused", f"it was refused: {seen[0].reason}", refused=refused)
    raise Problem(404, "not_found", "the account has no such refund, and none was refused")


def _shown(seen: Seen) -> RefundShown:
    order, refund = seen.order, seen.refund
    return RefundShown(
        account=refund.account,
        refund_no=refund.refund_no,
        state=refund.state,
        amount=refund.amount,
        currency=order.currency,
        provider_refund_no=refund.provider_refund_no,
        reason=refund.reason,
        case=seen.case,
        accepted_at=refund.accepted_at,
        state_at=refund.state_at,
        order=OrderShown(
            order_no=order.order_no,
            order_amount=order.order_amount,
            paid_amount=order.paid_amount,
            refunded_before=order.refunded_before,
            refunded=order.refunded,
            reserved=order.reserved,
            held=order.hold_token is not None,
        ),
        attempts=[
            AttemptShown.model_validate({name: row[name] for name in AttemptShown.model_fields})
            for row in seen.attempts
        ],
    )


@router.post(
    "/refunds/{account}/{refund_no}/cancel",
    response_model=Changed,
    summary="Cancel a refund of which nothing was sent",
    responses=problems(401, 403, 404, 409, 413, 415, 422, 429, 503),
)
def cancel(service: TheService, account: AllowedAccount, refund_no: RefundNumber) -> Changed:
    """Refused with 409 where an attempt may have been sent, or the refund is final."""
    service.bell.ring(cancel_refund(service.runtime, account, refund_no))
    return Changed(account=account, refund_no=refund_no)


@router.post(
    "/refunds/{account}/{refund_no}/resubmit",
    status_code=202,
    response_model=Changed,
    summary="Send a failed refund again",
    responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
    openapi_extra=body(Resubmission, {"after_attempt": 1}),
)
def resubmit(
    service: TheService,
    account: AllowedAccount,
    refund_no: RefundNumber,
    asked: Annotated[Resubmission, Depends(body_of(Resubmission))],
) -> Changed:
    """Under its own number, where the provider takes a failed number again."""
    order_id = resubmit_refund(service.runtime, account, refund_no, asked.after_attempt)
    service.bell.ring(order_id)
    return Changed(account=account, refund_no=refund_no)
