"""What becomes of an attempt, pure: begun, answered, reaped; and what people ask of a refund."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from worker.decisions.finality import absorb
from worker.refund import (
    CANCELED,
    CLOSED,
    FAILED,
    PENDING,
    QUEUED,
    SUBMITTING,
    SUCCEEDED,
    UNCOUNTED,
    UNKNOWN,
    WAITING_FOR_FUNDS,
    Attempt,
    Case,
    Change,
    Outcome,
    Rules,
    Standing,
    Verdict,
)

_ATTEMPT_AFTER: Final = {
    Verdict.NEVER_SENT: Attempt.NEVER_SENT,
    Verdict.BUSY: Attempt.BUSY,
    Verdict.MISCONFIGURED: Attempt.BUSY,
    Verdict.TOKEN: Attempt.BUSY,
    Verdict.FUNDS: Attempt.REJECTED,
    Verdict.REJECTED: Attempt.REJECTED,
    Verdict.PENDING: Attempt.PENDING,
    Verdict.SUCCEEDED: Attempt.SUCCEEDED,
}
#: The attempt was not executed, and the refund goes again under its number.
_AGAIN: Final = frozenset({Verdict.NEVER_SENT, Verdict.BUSY, Verdict.MISCONFIGURED, Verdict.TOKEN})
#: What only a provider that knows the number answers to a submission.
_SHOWS: Final = frozenset({Verdict.PENDING, Verdict.KNOWN, Verdict.EXISTS, Verdict.REJECTED})


def begin(standing: Standing) -> Change:
    """T1: a new attempt is about to be sent."""
    after = replace(
        standing,
        state=SUBMITTING,
        attempt=standing.attempt + 1,
        sent=standing.sent + 1,
        open_sent=standing.open_sent + 1,
        not_found=0,
        not_found_since=None,
    )
    return Change(event="submitting", standing=after)


def reap(standing: Standing) -> Change:
    """An attempt past its lease: it may have been sent, so it is unknown, never queued."""
    return Change(
        event="reaped", standing=replace(standing, state=UNKNOWN), attempt=Attempt.UNKNOWN
    )


def cancel(standing: Standing) -> Change | None:
    """Cancel; None where an attempt may have been sent or the state does not allow it."""
    if standing.state is not QUEUED or standing.open_sent:
        return None
    return Change(event="canceled", standing=replace(standing, state=CANCELED))


def resubmit(standing: Standing) -> Change:
    """A failed refund is asked for again under its own number."""
    return Change(event="resubmitted", standing=replace(standing, state=QUEUED))


def decide_answer(
    standing: Standing,
    attempt: int,
    was: Attempt,
    outcome: Outcome,
    rules: Rules,
    *,
    refused_before: bool = False,
) -> Change | None:
    """T3: what the answer to attempt number ``attempt``, which ``was``, changes; None: nothing.

    ``refused_before``: the attempt sent before this one was refused for another access token.
    """
    if outcome.verdict is Verdict.SUCCEEDED:
        return absorb(standing, Attempt.SUCCEEDED)
    after = _close_attempt(standing, was, outcome.verdict)
    becomes = _ATTEMPT_AFTER.get(outcome.verdict, Attempt.UNKNOWN)
    if attempt != standing.attempt or standing.state not in (SUBMITTING, UNKNOWN):
        known = after.known or (shows(outcome) and was not in CLOSED)
        return _note_late(standing, replace(after, known=known), becomes)
    if outcome.verdict in _AGAIN:
        return _queued_again(after, outcome, becomes, refused_before)
    return _answered(after, outcome, rules, becomes)


def accepted(standing: Standing, rules: Rules) -> Standing:
    """Pending; whether it lets go of its order is settled when it gets there, not later."""
    if standing.state is PENDING:
        return standing
    return replace(standing, state=PENDING, releases=rules.releases_on_acceptance)


def shows(outcome: Outcome) -> bool:
    """Whether the provider knows the number: it says so, or has one of its own for it."""
    numbered = outcome.verdict is Verdict.UNKNOWN and outcome.provider_refund_no is not None
    return numbered or outcome.verdict in _SHOWS


def count_not_found(standing: Standing, rules: Rules, now: datetime) -> tuple[Standing, bool]:
    """Another "not found" that counts, and whether they are trusted by now."""
    since = standing.not_found_since or now
    counted = replace(standing, not_found=standing.not_found + 1, not_found_since=since)
    enough = counted.not_found >= rules.not_found_needed
    return counted, enough and now - since >= rules.not_found_over


def _close_attempt(standing: Standing, was: Attempt, verdict: Verdict) -> Standing:
    becomes = _ATTEMPT_AFTER.get(verdict, Attempt.UNKNOWN)
    if becomes not in CLOSED or was not in (Attempt.STARTED, Attempt.UNKNOWN):
        return standing
    return replace(
        standing,
        open_sent=standing.open_sent - 1,
        sent=standing.sent - (becomes in UNCOUNTED),
    )


def _note_late(before: Standing, after: Standing, becomes: Attempt) -> Change | None:
    """An answer to an attempt that is not the current one any more closes it, or shows its number.

    What follows from that: with the last one closed, an unknown refund has failed, and a success
    that came from nobody's attempt is contradicted. While the provider says pending, it stands.
    """
    if after == before or (after.state is PENDING and not after.open_sent):
        return None
    if after.state is UNKNOWN and not after.open_sent:
        return Change(event="failed", standing=replace(after, state=FAILED), attempt=becomes)
    if after.state is SUCCEEDED and not after.open_sent:
        return Change(
            event="contradicted",
            standing=after,
            attempt=becomes,
            case=Case.CONTRADICTED,
            freezes=True,
        )
    return Change(event="late_answer", standing=after, attempt=becomes)


def _queued_again(
    after: Standing, outcome: Outcome, becomes: Attempt, refused_before: bool
) -> Change:
    """A new token that is refused like the one before it is no accident: the account is paused."""
    verdict = outcome.verdict
    twice = verdict is Verdict.TOKEN and refused_before
    return Change(
        event=verdict,
        standing=replace(after, state=QUEUED),
        attempt=becomes,
        pauses=twice or verdict is Verdict.MISCONFIGURED,
    )


def _answered(after: Standing, outcome: Outcome, rules: Rules, becomes: Attempt) -> Change:
    verdict = outcome.verdict
    if verdict in (Verdict.REJECTED, Verdict.FUNDS):
        return _rejected(after, verdict, rules)
    if verdict is Verdict.PENDING:
        after = replace(accepted(after, rules), known=True)
        return Change(event=verdict, standing=after, attempt=becomes)
    known = after.known or shows(outcome)
    first = verdict is Verdict.EXISTS and after.sent == 1
    return Change(
        event=verdict,
        standing=replace(after, state=UNKNOWN, known=known),
        attempt=becomes,
        case=Case.NUMBER_TAKEN if first else None,
    )


def _rejected(after: Standing, verdict: Verdict, rules: Rules) -> Change:
    """Final only when every earlier attempt is closed: one of them may have been executed."""
    if after.open_sent:
        state, event = UNKNOWN, "rejected_while_open"
    elif verdict is Verdict.FUNDS and rules.funds_same_number:
        state, event = QUEUED, WAITING_FOR_FUNDS
    else:
        state, event = FAILED, "failed"
    known = after.known or verdict is Verdict.REJECTED
    return Change(
        event=event, standing=replace(after, state=state, known=known), attempt=Attempt.REJECTED
    )
