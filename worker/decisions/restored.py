"""What an answer shows of a refund whose latest attempts a restored ledger may have lost, pure.

Such a refund is *cleared*, and may be sent, once the provider has said of it, asked after
everything that may have been under way has arrived, that nothing was executed: never as long as
the provider knows the number and has not declined it (protocol, "After a restore").
"""

from dataclasses import replace
from datetime import datetime

from worker.decisions.answers import count_not_found, shows
from worker.decisions.finality import contradiction
from worker.refund import FAILED, Case, Change, Outcome, Question, Rules, Standing, Verdict


def decide_queued(
    standing: Standing, question: Question, outcome: Outcome, rules: Rules, now: datetime
) -> Change | None:
    """It calls itself queued, and may have been sent: the intent is lost.

    A decline is the lost attempt's end, so it is the refund's: what was told failed is not sent
    before somebody asks for it again.
    """
    if outcome.verdict is Verdict.REJECTED:
        if not question.after_grace:
            return None
        after = replace(standing, state=FAILED, known=True, open_sent=0)
        return Change(event="failed", standing=after, closes_all=True, clears=True)
    if shows(outcome):
        known = replace(standing, known=True, not_found=0, not_found_since=None)
        return Change(event="lost_intent", standing=known, case=Case.LOST_INTENT)
    if outcome.verdict is not Verdict.NOT_FOUND:
        return None
    if standing.known:  # where it became so while the question was on its way, nothing vanished
        vanished = Change(event="vanished", standing=standing, case=Case.VANISHED)
        return vanished if question.known else None
    return _not_found(standing, question, rules, now)


def decide_failed(
    standing: Standing, question: Question, outcome: Outcome, rules: Rules, now: datetime
) -> Change | None:
    """It may have been resubmitted; until that is known nobody resubmits it."""
    if outcome.verdict in (Verdict.SUCCEEDED, Verdict.PENDING, Verdict.KNOWN):
        return _cleared(standing) if standing.contested else _executes(standing)
    if outcome.verdict is Verdict.MISCONFIGURED:
        return Change(event="asked", standing=standing, pauses=True)
    if outcome.verdict is Verdict.REJECTED:
        return _cleared(standing) if question.after_grace else None
    if outcome.verdict is Verdict.NOT_FOUND:
        return _not_found(standing, question, rules, now)
    return None


def _executes(standing: Standing) -> Change:
    return replace(contradiction(standing), clears=True)


def _cleared(standing: Standing) -> Change:
    after = replace(standing, not_found=0, not_found_since=None)
    return Change(event="cleared", standing=after, clears=True)


def _not_found(
    standing: Standing, question: Question, rules: Rules, now: datetime
) -> Change | None:
    if not question.after_grace:
        return None
    counted, trusted = count_not_found(standing, rules, now)
    return _cleared(standing) if trusted else Change(event="not_found", standing=counted)
