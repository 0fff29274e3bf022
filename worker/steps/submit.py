"""Submit: works on one order, sends its next refund, writes down what came of it.

T1 writes the intent down, T2 asks for the last time right before the first byte, T3 writes the
outcome down (settle.py). No transaction is open while the provider is called
(protocol, "Submit").
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from worker.errors import CannotOpen, LostCommits, NotSent, Unreached
from worker.ledger.engine import Ledger
from worker.ledger.journal import open_case
from worker.ledger.orders import lock_order, update_order, wake_no_later
from worker.ledger.refunds import (
    head_of_order,
    may_be_sent,
    update_refund,
)
from worker.ledger.rows import Order, Refund, Sendable
from worker.personal import SEALED_NAMES, without_values
from worker.providers.base import RefundFacts
from worker.refund import Case, Outcome, Verdict
from worker.runtime import Runtime, suspended_clock
from worker.steps import breaker
from worker.steps.exchange import exchange
from worker.steps.intent import Intent, is_past_window, write_intent
from worker.steps.relay import Settled, settle_and_begin
from worker.steps.scene import Scene
from worker.steps.sealing import opened
from worker.steps.settle import settle, until_committed
from worker.steps.turn import hand_over_unaskable, has_room, has_work, turn_of

_log = structlog.get_logger(__name__)

#: A message works on one order for at most this long, then leaves the thread to others. Shorter
#: than what a lease has beyond a call (``LEASE_MARGIN_S``), so that the order's lock, which lives
#: as long, outlives the last refund that is begun under it.
WORK_S: Final = 10.0
#: An order whose lock somebody has is looked at again after this.
_HELD_AGAIN: Final = timedelta(seconds=5)
#: A refund that a limit keeps from being sent is looked at again after this.
_LIMIT_AGAIN: Final = timedelta(days=1)
#: One whose personal data cannot be opened: somebody puts the key back.
_KEY_AGAIN: Final = timedelta(minutes=5)


def submit(runtime: Runtime, order_id: int) -> bool:
    """Send the order's due refunds, one after the other; True: wake the order anew.

    Raises:
        ServiceAway: the ledger does not answer; the sweep wakes the order later.
    """
    try:
        return _work_on(runtime, order_id)
    except LostCommits:  # a message outlives what a ledger has lost
        _log.error("submit.order_gone", order_id=order_id)
        return False


def _work_on(runtime: Runtime, order_id: int) -> bool:
    ends_at = time.monotonic() + WORK_S
    while True:
        with runtime.locks.try_hold(order_id, runtime.longest_lease_s) as mine:
            if not mine:
                _come_back(runtime, order_id)
                return False
            if not has_room(runtime, order_id):
                return False
            has_more = send_next(runtime, order_id, ends_at)
        if not has_more and not has_work(runtime, order_id):
            return False
        if time.monotonic() > ends_at:
            return True


def _come_back(runtime: Runtime, order_id: int) -> None:
    """The holder looks again when it lets go; but one that was killed never does."""
    with runtime.ledger.write() as connection:
        wake_no_later(connection, order_id, runtime.ledger.now(connection) + _HELD_AGAIN)


def send_next(runtime: Runtime, order_id: int, ends_at: float) -> bool:
    """T1, call, T3 for the refund whose turn it is, if it is one's; True: the next is due.

    And for those whose T1 goes with the T3 of the one before, until the monotonic clock shows
    ``ends_at``.
    """
    intent = claim_next(runtime, order_id, suspended_clock())
    if intent is None:
        return False
    while True:
        settled = _send_and_begin_next(runtime, intent, ends_at)
        if settled.begun is None:
            return settled.has_work
        intent = settled.begun


def _send_and_begin_next(runtime: Runtime, intent: Intent, ends_at: float) -> Settled:
    outcome, began = call_provider(runtime, intent), suspended_clock()
    if time.monotonic() > ends_at:
        return Settled(has_work=until_committed(lambda: settle(runtime, intent, outcome)))
    return until_committed(lambda: settle_and_begin(runtime, intent, outcome, began))


def send(runtime: Runtime, intent: Intent) -> bool:
    """Call and T3 for what T1 has written down; True: the order has work to do now."""
    outcome = call_provider(runtime, intent)
    return until_committed(lambda: settle(runtime, intent, outcome))


def claim_next(runtime: Runtime, order_id: int, began: float) -> Intent | None:
    """T1: write down the intent to send the order's head; None if nothing may go now."""
    with runtime.ledger.write() as connection:
        order = lock_order(connection, order_id)
        now = runtime.ledger.now(connection)
        head = head_of_order(connection, order_id, lock=True)
        turn = turn_of(connection, runtime, order, head, now)
        if head is None or turn is None or turn > now:
            update_order(connection, order_id, {"wake_at": turn})
            hand_over_unaskable(connection, runtime, head, now)
            return None
        refund, line = head.refund, runtime.lines[head.refund.account]
        if is_past_window(line, order, now):
            evidence = {"limit": "window", "paid_at": order.paid_at and order.paid_at.isoformat()}
            _hand_over(connection, order, refund, Case.LIMIT, evidence, now + _LIMIT_AGAIN, now)
            return None
        try:
            personal = opened(connection, runtime.seals, refund)
        except CannotOpen as error:
            _log.error("submit.personal_data_sealed", refund_no=refund.refund_no, why=str(error))
            evidence = {"sealed": str(error)}
            _hand_over(connection, order, refund, Case.SEALED, evidence, now + _KEY_AGAIN, now)
            return None
        scene = Scene(connection=connection, order=order, refund=refund, line=line, now=now)
        admitted = breaker.admit(scene, head.breaker)
        if admitted is None:
            update_order(connection, order_id, {"wake_at": breaker.next_look(line.account, now)})
            return None
        return replace(write_intent(scene, admitted, began), personal=personal)


def _hand_over(
    connection: Connection,
    order: Order,
    refund: Refund,
    kind: Case,
    evidence: dict[str, Any],
    again_at: datetime,
    now: datetime,
) -> None:
    """What cannot be sent as it stands waits for a person, who can cancel it."""
    open_case(connection, refund.id, kind, evidence, now)
    update_refund(connection, refund.id, {"due_at": again_at})
    update_order(connection, order.id, {"wake_at": again_at})


def call_provider(runtime: Runtime, intent: Intent) -> Outcome:
    """Send, with T2 right before the first byte; every failure has a verdict.

    Of what it says of a person nothing stays, even where the provider repeats it.
    """
    outcome, values = _call(runtime, intent), intent.personal.values()
    if not values:
        return outcome
    kept = outcome.exchange
    if kept is not None:
        answer = None if kept.answer is None else without_values(kept.answer, values)
        kept = replace(kept, request=without_values(kept.request, values), answer=answer)
    message, code = (without_values(said, values) for said in (outcome.message, outcome.code))
    return replace(outcome, message=message, code=code, exchange=kept)


def _call(runtime: Runtime, intent: Intent) -> Outcome:
    line, facts = intent.line, facts_of(intent.order, intent.refund, intent.personal)

    def gate() -> None:
        _last_check(runtime, intent)

    provider = line.provider
    try:
        return exchange(
            runtime,
            line,
            lambda: provider.submission(facts),
            lambda answer: provider.read_submission(facts, answer),
            gate,
        )
    except NotSent as error:
        away = isinstance(error, Unreached)
        return Outcome(
            verdict=Verdict.NEVER_SENT,
            code="unreached" if away else "never_sent",
            message=str(error),
            unanswered=away,
        )


def facts_of(
    order: Order, refund: Refund, personal: Mapping[str, Any] = MappingProxyType({})
) -> RefundFacts:
    """What the provider's calls are made of; only a submission has what is said of a person."""
    fields = {name: refund.request[name] for name in refund.request if name != SEALED_NAMES}
    if personal:
        fields["extra"] = fields["extra"] | personal
    return RefundFacts(
        order_no=order.order_no,
        refund_no=refund.refund_no,
        amount=refund.amount,
        marketing_amount=refund.marketing_amount,
        order_amount=order.order_amount,
        paid_amount=order.paid_amount,
        paid_at=order.paid_at,
        provider_refund_no=refund.provider_refund_no,
        **fields,
    )


def _last_check(runtime: Runtime, intent: Intent) -> None:
    """T2. The clock is read last, for the ledger's answer may take long."""
    lane = runtime.lanes.get("last checks", partial(_look_together, runtime.ledger))
    if not _is_allowed(intent, lane.do(intent.refund.id, intent.refund.id)):
        raise NotSent("the attempt is not current any more, or its order or account is stopped")
    late = suspended_clock() - intent.began - intent.line.account.send_deadline_s
    if late > 0:
        raise NotSent(f"the send deadline passed {late:.1f} s ago")


def _look_together(ledger: Ledger, refund_ids: list[int], _: bool) -> list[Sendable | None]:
    with ledger.read() as connection:
        found = may_be_sent(connection, refund_ids)
    return [found.get(refund_id) for refund_id in refund_ids]


def _is_allowed(intent: Intent, found: Sendable | None) -> bool:
    """A breaker that opened meanwhile forbids it, but not the call that is its trial."""
    if found is None or (found.number, found.started_at) != (intent.number, intent.started_at):
        return False
    return found.breaker_until is None or found.breaker_until == intent.breaker.until
