"""What a decision does to an order's sums, in fen: reserved, refunded, contested (I2, I8). Pure."""

from typing import Any, NamedTuple

from refundry import State
from worker.refund import OPEN, SUCCEEDED, Change
from worker.steps.scene import Scene


class Contested(NamedTuple):
    """What a contradiction puts aside again, in fen."""

    #: Of what the customer paid.
    reserved: int = 0
    #: Of what the merchant's marketing bears.
    marketing: int = 0
    #: What exceeds the order's caps.
    excess: int = 0


def contest(scene: Scene, change: Change) -> Contested:
    """What a contradiction reserves again, and what of it exceeds the order's caps (I8)."""
    if not change.standing.contested or scene.refund.standing.contested:
        return Contested()
    order, refund = scene.order, scene.refund
    left = order.order_amount - order.total_spoken_for
    reserved = min(refund.paid_part, order.paid_amount - order.spoken_for, left)
    marketing = min(refund.marketing_amount, left - reserved)
    excess = refund.amount - reserved - marketing
    return Contested(reserved=reserved, marketing=marketing, excess=excess)


def moved(scene: Scene, after: State, contested: Contested) -> dict[str, Any]:
    """The order's amounts that a change of state or a contradiction moves."""
    order, refund = scene.order, scene.refund
    reserves = (after in OPEN) - (refund.state in OPEN)
    refunds = (after is SUCCEEDED) - (refund.state is SUCCEEDED)
    if not reserves and not refunds and contested == Contested():
        return {}
    paid, marketing = refund.paid_part, refund.marketing_amount
    return {
        "reserved": order.reserved + reserves * paid + contested.reserved,
        "refunded": order.refunded + refunds * paid,
        "marketing_reserved": order.marketing_reserved + reserves * marketing + contested.marketing,
        "marketing_refunded": order.marketing_refunded + refunds * marketing,
        "excess": order.excess + contested.excess,
    }
