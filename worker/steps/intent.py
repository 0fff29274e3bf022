"""Intent: what T1 writes down before anything is sent."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from worker.decisions import begin
from worker.ledger.refunds import insert_attempt, update_refund
from worker.ledger.rows import Breaker, Order, Refund
from worker.refund import Attempt
from worker.runtime import Line
from worker.schedule import window_end
from worker.steps.record import record
from worker.steps.scene import Scene


@dataclass(frozen=True, kw_only=True, slots=True)
class Intent:
    """An attempt that T1 has written down."""

    order: Order
    refund: Refund
    line: Line
    number: int
    #: The ledger's time at T1, by which the attempt is told from another of its number.
    started_at: datetime
    #: What the account's breaker was when it let the attempt through.
    breaker: Breaker
    #: The sender's clock before T1 began.
    began: float
    #: What is sent of a person, and kept nowhere.
    personal: Mapping[str, Any] = field(default_factory=dict, repr=False)


def write_intent(scene: Scene, admitted: Breaker, began: float) -> Intent:
    """T1's writes: the refund holds its order, and a new attempt of it is about to be sent."""
    refund, line = _without_a_closed_number(scene), scene.line
    change = begin(refund.standing)
    record(scene, change)
    insert_attempt(
        scene.connection,
        {
            "refund_id": refund.id,
            "number": change.standing.attempt,
            "status": Attempt.STARTED,
            "fingerprint": refund.fingerprint,
            "started_at": scene.now,
            "lease_until": scene.now + timedelta(seconds=line.account.lease_s),
        },
    )
    return Intent(
        order=scene.order,
        refund=replace(refund, standing=change.standing),
        line=line,
        number=change.standing.attempt,
        started_at=scene.now,
        breaker=admitted,
        began=began,
    )


def _without_a_closed_number(scene: Scene) -> Refund:
    """What the provider called an attempt that was not executed is not the next one's number.

    Asked by it, the provider would tell of the old attempt; and it may give the new one another.
    """
    refund = scene.refund
    if refund.provider_refund_no is None or refund.standing.open_sent:
        return refund
    update_refund(scene.connection, refund.id, {"provider_refund_no": None})
    return replace(refund, provider_refund_no=None)


def is_past_window(line: Line, order: Order, now: datetime) -> bool:
    """The provider's window has passed since intake looked."""
    years = line.provider.traits.window_years
    if years is None or order.paid_at is None:
        return False
    return now > window_end(order.paid_at, years)
