"""What a provider's own message changes, pure."""

from dataclasses import replace
from typing import Final

from worker.decisions.finality import absorb, watched
from worker.refund import (
    CANCELED,
    FAILED,
    PENDING,
    SUCCEEDED,
    UNKNOWN,
    Case,
    Change,
    Notice,
    Rules,
    Standing,
    Verdict,
)

#: What is asked about, where a provider's own message says it of a final refund.
_DISAGREES: Final = {
    FAILED: frozenset({Verdict.SUCCEEDED, Verdict.PENDING, Verdict.KNOWN}),
    SUCCEEDED: frozenset({Verdict.REJECTED}),
}


def decide_notification(standing: Standing, notice: Notice, rules: Rules) -> Change | None:
    """What a provider's own message changes; None: nothing.

    It may be late, repeated, or overtaken by a newer one. A positive stays true for ever; anything
    else is a reason to ask, and evidence by itself only where nobody can be asked.
    """
    asks = rules.asks and standing.state is not CANCELED  # nothing was sent of what is canceled
    if notice.verdict is Verdict.SUCCEEDED and not (notice.stale and asks):
        change = absorb(standing, None)
        return replace(change, event="notified") if change and not change.case else change
    if rules.asks:
        return _ask_because_of(standing, notice.verdict)
    if notice.verdict is Verdict.REJECTED:
        return _told_declined(standing, notice)
    return None


def decide_mismatch(standing: Standing, rules: Rules) -> Change:
    """The provider's own message says something else of our number than what we asked for."""
    asks = rules.asks and standing.state in (UNKNOWN, PENDING, FAILED, SUCCEEDED)
    return Change(event="mismatched", standing=standing, case=Case.MISMATCHED, asks=asks)


def _ask_because_of(standing: Standing, verdict: Verdict) -> Change | None:
    disagrees = not standing.contested and verdict in _DISAGREES.get(standing.state, ())
    if standing.state not in (UNKNOWN, PENDING) and not disagrees:
        return None
    return Change(event="notified", standing=standing, asks=True)


def _told_declined(standing: Standing, notice: Notice) -> Change | None:
    """Nobody can be asked, so the message has to do.

    It says what became of a number, not of which attempt. Where an earlier attempt was declined
    already, it may be that one's, come late, while the latest is executed: then nothing is failed.
    """
    if standing.state is SUCCEEDED:
        return watched(standing, Verdict.REJECTED)
    if standing.state not in (UNKNOWN, PENDING) or not notice.after_grace:
        return None
    if standing.open_sent != standing.sent:
        return None
    after = replace(standing, state=FAILED, known=True, open_sent=0)
    return Change(event="notified", standing=after, closes_all=True)
