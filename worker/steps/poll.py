"""Poll: asks the providers about every refund that is due, and writes down what they say."""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

import structlog

from worker.decisions import decide_question
from worker.errors import LostCommits, NotSent, ServiceAway
from worker.ledger.questions import (
    accounts_with_questions,
    claim_questions,
    count_questions,
    time_and_mode,
)
from worker.ledger.rows import Order, Refund
from worker.refund import Change, Outcome, Question, Verdict
from worker.runtime import ASKERS, Line, Runtime
from worker.steps.deeds import write_down
from worker.steps.exchange import exchange
from worker.steps.faults import fault
from worker.steps.query_first import begin_after_loss
from worker.steps.record import record
from worker.steps.scene import Scene
from worker.steps.submit import facts_of

_log = structlog.get_logger(__name__)

#: Refunds of one account that are claimed at once.
BATCH: Final = 64
#: A message asks for an account for at most about this long.
WORK_S: Final = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Claimed:
    """A refund to ask about, as it stood when it was claimed."""

    order: Order
    refund: Refund
    line: Line
    #: The claim came after the grace of the latest attempt, and of those that a restored ledger
    #: may have lost; so will the question.
    after_grace: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Polled:
    """What was asked."""

    asked: int
    #: Orders that have work to do now.
    wake: list[int]


def accounts_due(runtime: Runtime) -> list[str]:
    """The accounts that have a refund to ask about now.

    Raises:
        ServiceAway: the ledger does not answer.
    """
    names = [name for name, line in runtime.lines.items() if line.account.query]
    with runtime.ledger.read() as connection:
        return accounts_with_questions(connection, names, runtime.ledger.now(connection))


def poll(runtime: Runtime, accounts: Iterable[str] | None = None, limit: int = BATCH) -> Polled:
    """Ask about the accounts' due refunds, at most ``limit`` each; of all that have some, if None.

    An account that this process is still asking for is left to the message that does.

    Raises:
        ServiceAway: the ledger does not answer; claims run out by themselves.
    """
    names = accounts_due(runtime) if accounts is None else accounts
    lines = [runtime.lines[name] for name in names if name in runtime.lines]
    asked = [line for line in lines if line.account.query]
    held = [line for line in asked if line.asking.acquire(blocking=False)]
    try:
        return _poll_lines(runtime, held, limit)
    finally:
        for line in held:
            line.asking.release()


def poll_on(runtime: Runtime, account: str) -> Iterator[Polled]:
    """Batch after batch, while they are full; after a while the thread is left to others.

    Raises:
        ServiceAway: the ledger does not answer; claims run out by themselves.
    """
    ends_at = time.monotonic() + WORK_S
    while True:
        polled = poll(runtime, [account])
        yield polled
        if polled.asked < BATCH or time.monotonic() > ends_at:
            return


def _poll_lines(runtime: Runtime, lines: list[Line], limit: int) -> Polled:
    asking: list[Future[int | None]] = []
    for line in lines:
        for claimed in _claim(runtime, line, _within_rate(runtime, line, limit)):
            asking.append(runtime.askers.submit(_ask_safely, runtime, claimed))
    wake = [order_id for future in asking if (order_id := future.result()) is not None]
    return Polled(asked=len(asking), wake=wake)


def _within_rate(runtime: Runtime, line: Line, limit: int) -> int:
    """How many questions the account's rate limit lets go now; what is left over stays due."""
    if line.account.rate_limit is None:
        return limit
    with runtime.ledger.read() as connection:
        now, since = time_and_mode(runtime.ledger, connection, line.account.name)
        due = count_questions(connection, line.account.name, since, now, limit)
    return runtime.limits.take_up_to(line.account, due)


def _claim(runtime: Runtime, line: Line, limit: int) -> list[Claimed]:
    account = line.account
    rounds = -(-limit // ASKERS)
    lease = timedelta(seconds=(rounds + 1) * account.total_timeout_s)
    with runtime.ledger.write() as connection:
        now, since = time_and_mode(runtime.ledger, connection, account.name)
        found = claim_questions(connection, account.name, since, now, now + lease, limit)
    grace = timedelta(seconds=account.grace_s)
    return [
        Claimed(
            order=order,
            refund=refund,
            line=line,
            after_grace=all(now >= at + grace for at in (started_at, since) if at is not None),
        )
        for refund, order, started_at in found
    ]


def _ask_safely(runtime: Runtime, claimed: Claimed) -> int | None:
    """The order to wake, if any. What fails here is asked again when the claim runs out."""
    try:
        outcome = ask(runtime, claimed)
        return claimed.order.id if apply(runtime, claimed, outcome) else None
    except ServiceAway as error:
        _log.warning("poll.answer_not_committed", error=str(error))
    except Exception as error:
        _log.error("poll.fault", refund_no=claimed.refund.refund_no, **fault(error))
    return None


def ask(runtime: Runtime, claimed: Claimed) -> Outcome:
    """Ask the provider; a question that could not be put is an unknown outcome."""
    line, facts = claimed.line, facts_of(claimed.order, claimed.refund)
    provider = line.provider
    try:
        return exchange(
            runtime,
            line,
            lambda: provider.question(facts),
            lambda answer: provider.read_reply(facts, answer),
        )
    except NotSent as error:
        return Outcome(verdict=Verdict.UNKNOWN, code="no_answer", message=str(error))


def apply(runtime: Runtime, claimed: Claimed, outcome: Outcome) -> bool:
    """Write down what was answered, if it still counts; True: the order has work to do now."""
    refund, decide = claimed.refund, partial(_apply, claimed, outcome)
    try:
        return write_down(runtime, claimed.line, claimed.order.id, refund.id, decide)
    except LostCommits:
        begin_after_loss(runtime, claimed.line, refund, "the acceptance", refund.accepted_at)
        return False


def _apply(claimed: Claimed, outcome: Outcome, scene: Scene) -> bool:
    if not scene.refund.is_row_of(claimed.refund):
        raise LostCommits("the refund's id is another one's")
    standing, question = scene.refund.standing, _question(claimed, scene.refund)
    change = decide_question(standing, question, outcome, claimed.line.rules, scene.now)
    unchanged = Change(event="asked", standing=standing)
    return record(scene, change or unchanged, outcome, asked_at=claimed.refund.asked_at)


def _question(claimed: Claimed, now: Refund) -> Question:
    """The question as it was sent; one from before a restore was noted is none after a grace."""
    asked = claimed.refund
    same = asked.query_first_since == now.query_first_since
    return Question(
        attempt=asked.standing.attempt,
        state=asked.state,
        after_grace=claimed.after_grace and (same or now.query_first_since is None),
        known=asked.standing.known,
        restored=now.uncleared,
        lost=now.may_lack_attempts,
    )
