"""What the answer to a question changes, pure; and when it counts."""

from dataclasses import replace
from datetime import datetime

from worker.decisions.answers import accepted, shows
from worker.decisions.finality import absorb, watched
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
    if outcome.verdict is Verdict.SUCCEEDED:
        return absorb(standing, None)
    if outcome.verdict is Verdict.MISCONFIGURED:
        return Change(event="asked", standing=standing, pauses=True)
    if standing.state in FINAL:
        asked_since = question.state is standing.state and question.attempt == standing.attempt
        return watched(standing, outcome.verdict) if asked_since else None
    if standing.attempt != question.attempt or standing.state not in (UNKNOWN, PENDING):
        return None
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
    if standing.attempt > 1 and not question.after_grace:
        return None
    after = replace(standing, state=FAILED, known=True, open_sent=0)
    return Change(event="failed", standing=after, closes_all=True)


def _not_found(
    standing: Standing, question: Question, rules: Rules, now: datetime
) -> Change | None:
    if standing.known:  # where it became so while the question was on its way, nothing vanished
        vanished = Change(event="vanished", standing=standing, case=Case.VANISHED)
        return vanished if question.known else None
    if not question.after_grace:
        return None
    since = standing.not_found_since or now
    counted = replace(standing, not_found=standing.not_found + 1, not_found_since=since)
    if counted.not_found < rules.not_found_needed or now - since < rules.not_found_over:
        return Change(event="not_found", standing=counted)
    if rules.deduplicates and counted.sent < rules.attempts_max:
        after = replace(counted, state=QUEUED, not_found=0, not_found_since=None)
        return Change(event="requeued", standing=after)
    return Change(event="not_resendable", standing=standing, case=Case.NOT_RESENDABLE)
