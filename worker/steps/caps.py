"""What intake holds a request against: the order's facts, what is left of it, the account's cap."""

from typing import Any

from sqlalchemy import Connection

from refundry import RefundRequest
from worker.errors import Refused
from worker.ledger.refunds import count_refunds_of_order
from worker.ledger.rows import Order
from worker.runtime import Line


def new_facts(order: Order, request: RefundRequest) -> dict[str, Any]:
    """Facts of the order that this job is the first to state.

    Raises:
        Refused: it contradicts what is known.
    """
    _must_agree("currency", order.currency, request.currency)
    _must_agree("order_amount", order.order_amount, request.order_amount)
    facts: dict[str, Any] = {}
    if request.paid_amount is not None:
        if order.paid_stated:
            _must_agree("paid_amount", order.paid_amount, request.paid_amount)
        facts |= {"paid_amount": request.paid_amount, "paid_stated": True}
    if "refunded_before" in request.model_fields_set:
        if order.before_stated:
            _must_agree("refunded_before", order.refunded_before, request.refunded_before)
        facts |= {"refunded_before": request.refunded_before, "before_stated": True}
    if request.paid_at is not None:
        if order.paid_at is not None:
            _must_agree("paid_at", order.paid_at, request.paid_at)
        facts["paid_at"] = request.paid_at
    return facts


def _must_agree(name: str, known: object, stated: object) -> None:
    if known != stated:
        raise Refused("order_facts", f"{name}: the order is known with {known}, not {stated}")


def marketing_of(line: Line, request: RefundRequest) -> int:
    """What of the amount the merchant's marketing bears, in fen."""
    return line.markets.marketing_amount(request) if line.markets else 0


def check_amounts(
    request: RefundRequest, paid: int, spoken_for: int, marketing: int, order: Order
) -> None:
    """Hold a request against what was paid and the order's total; all amounts in fen.

    Args:
        request: with the facts that it is the first to state.
        paid: what was paid, as known with this request.
        spoken_for: what is refunded or under way of it.
        marketing: what of the request's amount is not of what was paid.
        order: locked.

    Raises:
        Refused: it expected another sum, or asks for more than is left.
    """
    expected = request.expected_refunded
    if expected is not None and expected != spoken_for:
        raise Refused(
            "expected_refunded",
            f"expected_refunded: {spoken_for} fen are refunded or under way, not {expected}; "
            "look at the order's refunds before asking again",
        )
    borne = order.marketing_refunded + order.marketing_reserved
    _must_fit(request.amount - marketing, paid - spoken_for, f"of {paid} paid")
    total = order.order_amount
    _must_fit(request.amount, total - spoken_for - borne, f"of {total}, the order's total")


def _must_fit(amount: int, left: int, of_what: str) -> None:
    if amount > left:
        raise Refused(
            "over_refund", f"amount: {amount} fen are more than the {max(left, 0)} left {of_what}"
        )


def check_count(connection: Connection, line: Line, order: Order, more: int) -> None:
    """Raises Refused where the order, with so many more, has as many refunds as are allowed."""
    most = line.account.max_refunds_per_order
    if most is not None and count_refunds_of_order(connection, order.id) + more >= most:
        raise Refused("too_many_refunds", f"the account allows {most} refunds of one order")
