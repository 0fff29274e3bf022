"""Settle: T3, by which an attempt's outcome is written down, retried until it commits.

Only into the very attempt that T1 wrote down. A ledger that lost commits under a living worker, as
at a fail-over to a replica that lags, does not have it, or has another of its number.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import structlog
from sqlalchemy import Connection

from worker.decisions import decide_answer
from worker.errors import LostCommits, ServiceAway
from worker.ledger.refunds import finish_attempt, note_number, sent_before
from worker.ledger.rows import AttemptRow
from worker.refund import CLOSED, Outcome, Verdict
from worker.runtime import Runtime
from worker.steps import breaker
from worker.steps.deeds import write_down
from worker.steps.exchange import mark_in
from worker.steps.intent import Intent
from worker.steps.query_first import begin_after_loss
from worker.steps.record import exchanged, record
from worker.steps.scene import Scene, attempt_of

_log = structlog.get_logger(__name__)

#: Waits between two tries to commit an outcome, in seconds; the last repeats.
_COMMIT_WAITS_S: Final = (0.05, 0.2, 1.0, 2.0)

Result = TypeVar("Result")


def settle(runtime: Runtime, intent: Intent, outcome: Outcome) -> bool:
    """T3: write the outcome down, if it still counts; True if the order has work to do now.

    Where the ledger does not have the attempt any more, the outcome is of nothing in it: the
    provider is asked instead.
    """
    decide = partial(settle_within, intent, outcome)
    try:
        return write_down(runtime, intent.line, intent.order.id, intent.refund.id, decide)
    except LostCommits:
        lose(runtime, intent)
        return False


def lose(runtime: Runtime, intent: Intent) -> None:
    """The ledger does not have the attempt any more: whatever may have been lost is asked about."""
    lost = f"attempt {intent.number}"
    begin_after_loss(runtime, intent.line, intent.refund, lost, intent.started_at)


def settle_within(intent: Intent, outcome: Outcome, scene: Scene) -> bool:
    """The same, in the scene's transaction. Raises LostCommits."""
    attempt = _same_attempt(intent, scene)
    breaker.count(scene, intent.breaker, outcome)
    change = decide_answer(
        scene.refund.standing,
        intent.number,
        attempt.status,
        outcome,
        intent.line.rules,
        refused_before=_refused_before(scene.connection, intent, outcome),
    )
    if change is None:
        if attempt.status not in CLOSED:  # its news came before it, but not the number
            note_number(scene.connection, intent.refund.id, outcome.provider_refund_no)
        kept = exchanged(outcome)
        finish_attempt(scene.connection, intent.refund.id, intent.number, kept)
        return False
    return record(scene, change, outcome, answered=intent.number, asked_at=attempt.started_at)


def _same_attempt(intent: Intent, scene: Scene) -> AttemptRow:
    """The attempt that T1 wrote down; another of its number began at another time."""
    attempt = attempt_of(scene, intent.number)
    if attempt.started_at != intent.started_at:
        raise LostCommits("the attempt is another one")
    return attempt


def _refused_before(connection: Connection, intent: Intent, outcome: Outcome) -> bool:
    """Whether another token was refused to the attempt sent before; nothing else asks for it.

    The same one may come back: from a Redis that could not forget it, or forgot that it had.
    """
    if outcome.verdict is not Verdict.TOKEN:
        return False
    before = sent_before(connection, intent.refund.id, intent.number)
    if before is None or before.code != outcome.code:
        return False
    return mark_in(before.message) != mark_in(outcome.message)


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
