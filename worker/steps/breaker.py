"""The breaker of an account: pauses sending, never asking, while its provider does not answer.

It stands in the account's row of the ledger, not in Redis: there all workers share it, a flushed
Redis does not forget it, and it costs no round trip, for T1 and T2 read that row anyway. A healthy
account's row is never written.

What counts is a submission to which no trustworthy answer came, and also one whose provider could
not be reached: its refund waits anyway, so counting it loses nothing, and it spares a provider that
is down from being knocked at by every order. What we keep back ourselves counts neither way, and
neither does a question.

Closed, it opens after ``breaker_failures`` in a row, for ``breaker_reset_s``. Then one call goes on
trial: whoever moves the breaker's time on (a compare-and-set in T1) sends, and all others wait. An
answer closes it, none opens it again; a trial that tells nothing runs out by itself.
"""

from datetime import datetime, timedelta

import structlog

from config.accounts import Account
from worker.case_rules import AccountDeed
from worker.ledger.accounts import Word, add_account_entry
from worker.ledger.breaker import close_breaker, count_failure, take_trial
from worker.ledger.rows import Breaker
from worker.refund import Outcome, Verdict
from worker.steps.scene import Scene

_log = structlog.get_logger(__name__)


def waits_until(account: Account, breaker: Breaker, now: datetime) -> datetime | None:
    """When an order should be looked at again; None if the breaker lets it through, or may.

    A trial may end long before its time does.
    """
    if breaker.until is None or breaker.until <= now:
        return None
    return min(breaker.until, next_look(account, now))


def next_look(account: Account, now: datetime) -> datetime:
    """When an order is looked at again that waits for another one's trial."""
    return now + _reset(account)


def admit(scene: Scene, seen: Breaker) -> Breaker | None:
    """T1: the breaker that the call goes by, which is on trial if it was open; None: wait."""
    if seen.until is None:
        return seen
    account = scene.line.account
    call = timedelta(seconds=account.send_deadline_s + account.total_timeout_s)
    until = scene.now + max(call, _reset(account))
    if not take_trial(scene.connection, account.name, seen.until, until):
        return None
    _log.info("breaker.trial", account=account.name, failures=seen.failures)
    return Breaker(failures=seen.failures, until=until)


def count(scene: Scene, seen: Breaker, outcome: Outcome) -> None:
    """T3: what a call shows of its provider. Order and refund are locked, the account follows."""
    if outcome.unanswered:
        _count_failure(scene, seen)
    elif outcome.verdict is not Verdict.NEVER_SENT and seen != Breaker():
        name = scene.line.account.name
        if close_breaker(scene.connection, name, seen.until) and seen.until is not None:
            _log.warning("breaker.closed", account=name, failures=seen.failures)
            _note(scene, AccountDeed.BREAKER_CLOSED, "a call was answered")


def _count_failure(scene: Scene, seen: Breaker) -> None:
    account = scene.line.account
    until = next_look(account, scene.now)
    after = count_failure(
        scene.connection, account.name, seen.until, account.breaker_failures, until
    )
    if after is not None and after.until is not None:
        _log.error(
            "breaker.opened",
            account=account.name,
            failures=after.failures,
            until=after.until.isoformat(),
        )
        said = f"{after.failures} calls in a row without a trustworthy answer"
        _note(scene, AccountDeed.BREAKER_OPENED, said, until=after.until.isoformat())


def _note(scene: Scene, what: AccountDeed, why: str, **detail: str) -> None:
    word = Word(reason=why, detail={"refund_no": scene.refund.refund_no, **detail})
    add_account_entry(scene.connection, scene.line.account.name, what, word, scene.now)


def _reset(account: Account) -> timedelta:
    return timedelta(seconds=account.scaled(account.breaker_reset_s))
