"""What people do with a refund, pure: let it go, settle it, have it sent again; or why not."""

from dataclasses import replace
from typing import Final

from refundry import State
from worker.refund import (
    CANCELED,
    FAILED,
    FINAL,
    PENDING,
    QUEUED,
    REVERSED,
    SUBMITTING,
    SUCCEEDED,
    UNKNOWN,
    Change,
    Rules,
    Standing,
)

#: The event of a settlement; no other is written on people's word alone.
SETTLED: Final = "settled"
#: The event of a large refund that a second person lets go.
APPROVED: Final = "approved"
#: Events that are written though nothing of the standing changes.
BY_PEOPLE: Final = frozenset({SETTLED, APPROVED})
#: What people may settle a refund to, beside what it is already.
_SETTLES: Final = {
    QUEUED: frozenset({SUCCEEDED, FAILED}),
    UNKNOWN: frozenset({SUCCEEDED, FAILED}),
    PENDING: frozenset({SUCCEEDED, FAILED}),
    FAILED: frozenset({SUCCEEDED}),
    SUCCEEDED: frozenset({REVERSED}),
}
_WHY_NOT_SENT: Final = {
    QUEUED: "it is queued and goes by itself",
    SUBMITTING: "it is being sent",
    PENDING: "the provider has accepted it: it would be executed twice, or refused",
    FAILED: "it has failed: `refundry resubmit` where its provider takes the number again",
    SUCCEEDED: "it has succeeded",
    CANCELED: "it was canceled: request a new refund",
    REVERSED: "it was reversed: request a new refund",
}


def settle(standing: Standing, to: State, *, lost: bool) -> Change | str:
    """Bring a refund to its end on people's word, or hold on to the end it has; or why not.

    Args:
        standing: where it stands.
        to: the state that it is to get; its own where what contradicts that is dismissed.
        lost: a restored ledger may have lost attempts of it.
    """
    state = standing.state
    if state is SUBMITTING:
        return "an attempt is under way; wait for its answer"
    if to is state and state in FINAL:
        closes = state in (FAILED, CANCELED)
        after = replace(standing, contested=False)
        return Change(event=SETTLED, standing=after, closes_all=closes)
    if to not in _SETTLES.get(state, ()):
        return f"what is {state} cannot become {to}"
    if state is QUEUED and not (standing.open_sent or standing.known or lost):
        return "nothing of it was sent: cancel it"
    if to is FAILED:
        after = replace(standing, state=FAILED, open_sent=0)
        return Change(event=SETTLED, standing=after, closes_all=True, clears=lost)
    known = standing.known or to is SUCCEEDED
    after = replace(standing, state=to, known=known, contested=False)
    return Change(event=SETTLED, standing=after, clears=lost)


def send_again(
    standing: Standing, rules: Rules, *, not_resendable: bool, lost: bool
) -> Change | str:
    """Send the same number once more, though its attempts are used up; or why not.

    Only where the provider deduplicates and has said, often enough, that it does not know the
    number (``not_resendable`` is open): then the worst is that it refuses the repetition.
    """
    if standing.state is not UNKNOWN:
        return _WHY_NOT_SENT[standing.state]
    if not rules.deduplicates:
        return "it may have been sent, and its provider would execute a repetition: settle it"
    if standing.known:
        return "the provider knows the number: what it knows is never sent again"
    if not not_resendable:
        return "its provider has not said often enough that it does not know the number"
    after = replace(standing, state=QUEUED, not_found=0, not_found_since=None)
    return Change(event="sent_again", standing=after, clears=lost)


def let_go(standing: Standing) -> Change:
    """A second person has approved that it is sent."""
    return Change(event=APPROVED, standing=standing)
