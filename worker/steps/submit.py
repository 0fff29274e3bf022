"""Submit: works on one order, sends its next refund, writes down what came of it.

T1 writes the intent down, T2 asks for the last time right before the first byte, T3 writes the
outcome down and is retried until it commits. No transaction is open while the provider is called
(protocol, "Submit").
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypeVar

import structlog
from sqlalchemy import Connection

from worker.decisions import begin, decide_answer
from worker.errors import NoAnswer, NotSent, ServiceAway, Unreached
from worker.ledger.journal import open_case
from worker.ledger.orders import lock_order, update_order
from worker.ledger.refunds import (
    get_attempt,
    head_of_order,
    insert_attempt,
    may_still_send,
    note_number,
    said_before,
    update_refund,
)
from worker.ledger.rows import Breaker, Order, Refund
from worker.providers.base import RefundFacts
from worker.refund import CLOSED, Attempt, Case, Outcome, Verdict
from worker.runtime import Line, Runtime, suspended_clock
from worker.schedule import window_end
from worker.steps import breaker
from worker.steps.exchange import exchange
from worker.steps.record import record
from worker.steps.scene import Scene, lock_scene
from worker.steps.turn import has_room, has_work, turn_of

_log = structlog.get_logger(__name__)

#: A message works on one order for at most this long, then leaves the thread to others.
WORK_S: Final = 10.0
#: Waits between two tries to commit an outcome, in seconds; the last repeats.
_COMMIT_WAITS_S: Final = (0.05, 0.2, 1.0, 2.0)
#: A refund that a limit keeps from being sent is looked at again after this.
_LIMIT_AGAIN: Final = timedelta(days=1)

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class Intent:
    """An attempt that T1 has written down."""

    order: Order
    refund: Refund
    line: Line
    number: int
    #: What the account's breaker was when it let the attempt through.
    breaker: Breaker
    #: The sender's clock before T1 began.
    began: float


def submit(runtime: Runtime, order_id: int) -> bool:
    """Send the order's due refunds, one after the other; True: wake the order anew.

    Raises:
        ServiceAway: the ledger does not answer; the sweep wakes the order later.
    """
    ends_at = time.monotonic() + WORK_S
    while True:
        with runtime.locks.try_hold(order_id, runtime.longest_lease_s) as mine:
            if not mine:
                return False  # the holder looks again when it lets go
            if not has_room(runtime, order_id):
                return False
            sent = send_next(runtime, order_id)
        if not sent and not has_work(runtime, order_id):
            return False
        if time.monotonic() > ends_at:
            return True


def send_next(runtime: Runtime, order_id: int) -> bool:
    """T1, call, T3 for the refund whose turn it is; False if it is nobody's."""
    began = suspended_clock()
    intent = claim_next(runtime, order_id, began)
    if intent is None:
        return False
    outcome = call_provider(runtime, intent)
    until_committed(lambda: settle(runtime, intent, outcome))
    return True


def claim_next(runtime: Runtime, order_id: int, began: float) -> Intent | None:
    """T1: write down the intent to send the order's head; None if nothing may go now."""
    with runtime.ledger.write() as connection:
        order = lock_order(connection, order_id)
        now = runtime.ledger.now(connection)
        head = head_of_order(connection, order_id, lock=True)
        turn = turn_of(runtime, order, head, now)
        if head is None or turn is None or turn > now:
            update_order(connection, order_id, {"wake_at": turn})
            return None
        refund, line = head.refund, runtime.lines[head.refund.account]
        if _is_past_window(line, order, now):
            _hand_over(connection, order, refund, now)
            return None
        scene = Scene(connection=connection, order=order, refund=refund, line=line, now=now)
        admitted = breaker.admit(scene, head.breaker)
        if admitted is None:
            update_order(connection, order_id, {"wake_at": breaker.next_look(line.account, now)})
            return None
        return _write_intent(scene, admitted, began)


def _write_intent(scene: Scene, admitted: Breaker, began: float) -> Intent:
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


def _is_past_window(line: Line, order: Order, now: datetime) -> bool:
    """The provider's window has passed since intake looked."""
    years = line.provider.traits.window_years
    if years is None or order.paid_at is None:
        return False
    return now > window_end(order.paid_at, years)


def _hand_over(connection: Connection, order: Order, refund: Refund, now: datetime) -> None:
    """What a limit keeps from being sent waits for a person, who can cancel it."""
    evidence = {"limit": "window", "paid_at": order.paid_at.isoformat() if order.paid_at else ""}
    open_case(connection, refund.id, Case.LIMIT, evidence, now)
    update_refund(connection, refund.id, {"due_at": now + _LIMIT_AGAIN})
    update_order(connection, order.id, {"wake_at": now + _LIMIT_AGAIN})


def call_provider(runtime: Runtime, intent: Intent) -> Outcome:
    """Send, with T2 right before the first byte; every failure has a verdict."""
    line, facts = intent.line, facts_of(intent.order, intent.refund)

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
    except Unreached as error:
        return _unanswered(Verdict.NEVER_SENT, "unreached", str(error))
    except NotSent as error:
        return Outcome(verdict=Verdict.NEVER_SENT, code="never_sent", message=str(error))
    except NoAnswer as error:
        return _unanswered(Verdict.UNKNOWN, "no_answer", str(error))
    except Exception as error:
        _log.exception("submit.fault", refund_no=facts.refund_no)
        return _unanswered(Verdict.UNKNOWN, "fault", type(error).__name__)


def _unanswered(verdict: Verdict, code: str, message: str) -> Outcome:
    return Outcome(verdict=verdict, code=code, message=message, unanswered=True)


def settle(runtime: Runtime, intent: Intent, outcome: Outcome) -> bool:
    """T3: write the outcome down, if it still counts; True if the order has work to do now."""
    with runtime.ledger.write() as connection:
        scene = lock_scene(
            connection, runtime.ledger, intent.line, intent.order.id, intent.refund.id
        )
        breaker.count(scene, intent.breaker, outcome)
        attempt = get_attempt(connection, intent.refund.id, intent.number)
        change = decide_answer(
            scene.refund.standing,
            intent.number,
            attempt.status,
            outcome,
            intent.line.rules,
            said_before=_said_before(connection, intent, outcome),
        )
        if change is None:
            if attempt.status not in CLOSED:  # its news came before it, but not the number
                note_number(connection, intent.refund.id, outcome.provider_refund_no)
            return False
        return record(scene, change, outcome, answered=intent.number, asked_at=attempt.started_at)


def _said_before(connection: Connection, intent: Intent, outcome: Outcome) -> str | None:
    """What decides whether a token was refused twice running; nothing else asks for it."""
    if outcome.verdict is not Verdict.TOKEN:
        return None
    return said_before(connection, intent.refund.id, intent.number)


def until_committed(step: Callable[[], Result]) -> Result:
    """Run a transaction until it commits; it must be safe to run twice."""
    tries = 0
    while True:
        try:
            return step()
        except ServiceAway as error:
            wait = _COMMIT_WAITS_S[min(tries, len(_COMMIT_WAITS_S) - 1)]
            _log.warning("submit.outcome_not_committed", tries=tries, error=str(error))
            time.sleep(wait)
            tries += 1


def facts_of(order: Order, refund: Refund) -> RefundFacts:
    """What the provider's calls are made of."""
    return RefundFacts(
        order_no=order.order_no,
        refund_no=refund.refund_no,
        amount=refund.amount,
        marketing_amount=refund.marketing_amount,
        order_amount=order.order_amount,
        paid_amount=order.paid_amount,
        paid_at=order.paid_at,
        provider_refund_no=refund.provider_refund_no,
        **refund.request,
    )


def _last_check(runtime: Runtime, intent: Intent) -> None:
    """T2. The clock is read last, for the ledger's answer may take long."""
    with runtime.ledger.read() as connection:
        allowed = may_still_send(connection, intent.refund.id, intent.number, intent.breaker.until)
    if not allowed:
        raise NotSent("the attempt is not current any more, or its order or account is stopped")
    late = suspended_clock() - intent.began - intent.line.account.send_deadline_s
    if late > 0:
        raise NotSent(f"the send deadline passed {late:.1f} s ago")
