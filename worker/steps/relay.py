"""Relay: the T3 of one refund and the T1 of its order's next one, in one transaction.

An order's refunds go one after the other, so that what lies between two calls is all that can be
saved of a long order's time. Nothing is looked at less: whatever is not plain goes the long way,
which is T3 alone and then T1 alone (protocol, "Submit").
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from worker.errors import LostCommits
from worker.ledger.refunds import lock_next_of_order
from worker.ledger.rows import Breaker, Head
from worker.personal import SEALED_NAMES
from worker.refund import Outcome, Verdict
from worker.runtime import Runtime
from worker.steps.deeds import write_down
from worker.steps.intent import Intent, is_past_window, write_intent
from worker.steps.scene import Scene
from worker.steps.settle import lose, settle_within
from worker.steps.turn import turn_of

#: Answers after which the order is let go of, if it is at all.
_LETS_GO: Final = frozenset({Verdict.PENDING, Verdict.SUCCEEDED, Verdict.REJECTED})
_HEALTHY: Final = Breaker()


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """An attempt's outcome is written down."""

    #: The order has work to do now.
    has_work: bool
    #: That work, where it is to be sent now: its intent was written down as well.
    begun: Intent | None = None


def settle_and_begin(runtime: Runtime, intent: Intent, outcome: Outcome, began: float) -> Settled:
    """Settle, and begin the order's next refund where nothing stands in its way.

    Args:
        runtime: what the steps are given.
        intent: the attempt that was answered; it was sent under the order's lock.
        outcome: what came of it.
        began: the sender's clock, by which the next one's deadline is counted.
    """
    decide = partial(_settle_and_begin, runtime, intent, outcome, began)
    order_id, refund_id = intent.order.id, intent.refund.id
    try:  # what is learnt of the order's other refunds meanwhile can wait, the next one cannot
        return write_down(runtime, intent.line, order_id, refund_id, decide, first=True)
    except LostCommits:
        lose(runtime, intent)
        return Settled(has_work=False)


def _settle_and_begin(
    runtime: Runtime, intent: Intent, outcome: Outcome, began: float, scene: Scene
) -> Settled:
    head = _next(outcome, scene)  # read before anything is written
    has_work = settle_within(intent, outcome, scene)
    begun = _begin(runtime, scene, head, began) if has_work and head is not None else None
    return Settled(has_work=has_work, begun=begun)


def _next(outcome: Outcome, scene: Scene) -> Head | None:
    """The order's oldest queued refund, if its turn may come by this answer."""
    plain = scene.others_wait and scene.refund.standing.holds and outcome.verdict in _LETS_GO
    return lock_next_of_order(scene.connection, scene.order.id, scene.refund.id) if plain else None


def _begin(runtime: Runtime, scene: Scene, head: Head, began: float) -> Intent | None:
    """T1 of the next one. The order has work, so it is neither stopped nor spaced."""
    turn = turn_of(scene.connection, runtime, scene.order, head, scene.now)
    if turn is None or turn > scene.now or head.breaker != _HEALTHY:
        return None
    if head.refund.request.get(SEALED_NAMES):  # T1 alone opens what is sealed
        return None
    line = runtime.lines[head.refund.account]
    if line.account.rate_limit is not None or is_past_window(line, scene.order, scene.now):
        return None
    order = replace(scene.order, wake_at=scene.now)  # settling has had it woken
    after = replace(scene, order=order, refund=head.refund, line=line, attempt=None)
    return write_intent(after, head.breaker, began)
