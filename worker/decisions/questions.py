"""What the answer to a question changes, pure; and when it counts."""

from dataclasses import replace
from datetime import datetime

from worker.decisions.answers import accepted, count_not_found, shows
from worker.decisions.finality import absorb, watched
from worker.decisions.restored import decide_failed, decide_queued
from worker.refund import (
    FAILED,
    FINAL,
    PENDING,
    QUEUED,
    UNKNOWN,
    Case,
    Change,
    Outcome,
    Question,
    Rules,
    Standing,
    Verdict,
)


def decide_question(
    standing: Standing, question: Question, outcome: Outcome, rules: Rules, now: datetime
) -> Change | None:
    """What the answer to a question changes; None: nothing but that it was asked."""
    same = standing.attempt == question.attempt and standing.state is question.state
    if question.restored and same and standing.state is FAILED:
        return decide_failed(standing, question, outcome, rules, now)
    if outcome.verdict is Verdict.SUCCEEDED:
        return absorb(standing, None)
    if outcome.verdict is Verdict.MISCONFIGURED:
        return Change(event="asked", standing=standing, pauses=True)
    if standing.state in FINAL:
        return watched(standing, outcome.verdict) if same else None
    if question.restored and same and standing.state is QUEUED:
        return decide_queued(standing, question, outcome, rules, now)
    if standing.attempt != question.attempt or standing.state not in (UNKNOWN, PENDING):
        return None
    return _of_open(standing, question, outcome, rules, now)


def _of_open(
    standing: Standing, question: Question, outcome: Outcome, rules: Rules, now: datetime
) -> Change | None:
    """Its end is not known: unknown, or pending."""
    if outcome.verdict is Verdict.PENDING:
        return _heard_of(standing, accepted(standing, rules))
    if outcome.verdict is Verdict.KNOWN:
        state = UNKNOWN if standing.holds else standing.state
        return _heard_of(standing, replace(standing, state=state))
    if outcome.verdict is Verdict.REJECTED:
        return _declined(standing, question)
    if outcome.verdict is Verdict.NOT_FOUND:
        return _not_found(standing, question, rules, now)
    return _heard_of(standing, standing) if shows(outcome) else None


def _heard_of(before: Standing, after: Standing) -> Change | None:
    after = replace(after, known=True, not_found=0, not_found_since=None)
    return Change(event=after.state, standing=after) if after != before else None


def _declined(standing: Standing, question: Question) -> Change | None:
    """With several attempts the decline may be an older one's, while the newest is on its way."""
    if (standing.attempt > 1 or question.lost) and not question.after_grace:
        return None
    after = replace(standing, state=FAILED, known=True, open_sent=0)
    return Change(event="failed", standing=after, closes_all=True, clears=question.restored)


def _not_found(
    standing: Standing, question: Question, rules: Rules, now: datetime
) -> Change | None:
    if standing.known:  # where it became so while the question was on its way, nothing vanished
        vanished = Change(event="vanished", standing=standing, case=Case.VANISHED)
        return vanished if question.known else None
    if not question.after_grace:
        return None
    counted, trusted = count_not_found(standing, rules, now)
    if not trusted:
        return Change(event="not_found", standing=counted)
    if rules.deduplicates and counted.sent < rules.attempts_max:
        after = replace(counted, state=QUEUED, not_found=0, not_found_since=None)
        return Change(event="requeued", standing=after, clears=question.restored)
    return Change(event="not_resendable", standing=standing, case=Case.NOT_RESENDABLE)
