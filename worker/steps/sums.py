"""What a decision does to an order's sums, in fen: reserved, refunded, contested (I2, I8). Pure."""

from typing import Any, NamedTuple

from refundry import State
from worker.ledger.rows import Refund
from worker.refund import OPEN, REVERSED, SUCCEEDED, Change
from worker.steps.scene import Scene


class Contested(NamedTuple):
    """What is put aside of a refund whose end is contradicted, in fen.

    Of one that was settled as executed though less was left of its order: how it is counted.
    """

    #: Of what the customer paid.
    reserved: int = 0
    #: Of what the merchant's marketing bears.
    marketing: int = 0
    #: What exceeds the order's caps.
    excess: int = 0


_NOTHING = Contested()


def contested_of(refund: Refund) -> Contested:
    """What is put aside of a refund now."""
    return Contested(
        reserved=refund.contested_reserved,
        marketing=refund.contested_marketing,
        excess=refund.contested_excess,
    )


def contest(scene: Scene, change: Change) -> Contested:
    """What is put aside after a change.

    A contradiction reserves the amount again, and what exceeds the order's caps apart (I8). Once it
    is settled that it was executed, only what exceeds is left to be told apart; any other
    settlement frees it.
    """
    refund, after = scene.refund, change.standing
    before = contested_of(refund)
    executed = after.state is SUCCEEDED and refund.state not in (*OPEN, SUCCEEDED)
    if executed or (after.contested and before == _NOTHING):
        share = _share(scene, before)
        return share if after.contested or share.excess else _NOTHING
    freed = refund.standing.contested and not after.contested
    return _NOTHING if freed or (after.state is REVERSED and refund.state is SUCCEEDED) else before


def _share(scene: Scene, before: Contested) -> Contested:
    """What of the refund's amount there is room for, without what is put aside of it already."""
    order, refund = scene.order, scene.refund
    paid_left = order.paid_amount - order.spoken_for + before.reserved
    left = order.order_amount - order.total_spoken_for + before.reserved + before.marketing
    reserved = min(refund.paid_part, paid_left, left)
    marketing = min(refund.marketing_amount, left - reserved)
    excess = refund.amount - reserved - marketing
    return Contested(reserved=reserved, marketing=marketing, excess=excess)


class _Weight(NamedTuple):
    """What a refund makes of its order's sums."""

    reserved: int
    refunded: int
    marketing_reserved: int
    marketing_refunded: int
    excess: int


def _weight(refund: Refund, state: State, aside: Contested) -> _Weight:
    paid, marketing = refund.paid_part, refund.marketing_amount
    if state is SUCCEEDED and aside != _NOTHING:
        return _Weight(0, aside.reserved, 0, aside.marketing, aside.excess)
    reserves, refunds = state in OPEN, state is SUCCEEDED
    return _Weight(
        reserved=reserves * paid + aside.reserved,
        refunded=refunds * paid,
        marketing_reserved=reserves * marketing + aside.marketing,
        marketing_refunded=refunds * marketing,
        excess=aside.excess,
    )


def moved(scene: Scene, after: State, contested: Contested) -> dict[str, Any]:
    """The order's amounts that a change of state or a contradiction moves."""
    order, refund = scene.order, scene.refund
    old = _weight(refund, refund.state, contested_of(refund))
    new = _weight(refund, after, contested)
    if old == new:
        return {}
    return {
        name: getattr(order, name) + added - taken
        for name, added, taken in zip(_Weight._fields, new, old, strict=True)
    }
