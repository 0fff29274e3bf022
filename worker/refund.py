"""The life of a refund, pure: states, transitions, outcomes, and what an outcome changes.

The transition table is ``docs/design/protocol`` in code; the database repeats it in a trigger and
a test holds the two, and the drawing in ``docs/states.md``, against each other.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from refundry import State

QUEUED, SUBMITTING, UNKNOWN, PENDING = (
    State.QUEUED,
    State.SUBMITTING,
    State.UNKNOWN,
    State.PENDING,
)
SUCCEEDED, FAILED, CANCELED, REVERSED = (
    State.SUCCEEDED,
    State.FAILED,
    State.CANCELED,
    State.REVERSED,
)

#: Every legal change of state; ``None`` is "not there yet".
TRANSITIONS: Final[dict[State | None, frozenset[State]]] = {
    None: frozenset({QUEUED}),
    QUEUED: frozenset({SUBMITTING, CANCELED, SUCCEEDED}),
    SUBMITTING: frozenset({PENDING, UNKNOWN, SUCCEEDED, FAILED, QUEUED}),
    UNKNOWN: frozenset({PENDING, SUCCEEDED, FAILED, QUEUED}),
    PENDING: frozenset({SUCCEEDED, FAILED, UNKNOWN}),
    FAILED: frozenset({QUEUED, SUCCEEDED}),
    SUCCEEDED: frozenset({REVERSED}),
    CANCELED: frozenset(),
    REVERSED: frozenset(),
}

#: Not final: the amount is reserved.
OPEN: Final = frozenset({QUEUED, SUBMITTING, UNKNOWN, PENDING})
#: Final; only a person's resolved case or an explicit resubmission goes on from here.
FINAL: Final = frozenset({SUCCEEDED, FAILED, CANCELED, REVERSED})


class Verdict(StrEnum):
    """What one exchange with a provider has shown."""

    NEVER_SENT = "never_sent"  # provably nothing left
    UNKNOWN = "unknown"  # may have been sent; nothing conclusive came back
    SUCCEEDED = "succeeded"
    REJECTED = "rejected"  # definitely not executed, as the provider's page lists it
    PENDING = "pending"  # accepted, not final
    KNOWN = "known"  # the provider knows the number and cannot say what became of it
    EXISTS = "exists"  # "refund number exists", in answer to a submission
    BUSY = "busy"  # definitely not executed; later, under the same number
    FUNDS = "funds"  # definitely not executed; the merchant's balance is short
    NOT_FOUND = "not_found"  # the provider does not know the number (answer to a question)


class Attempt(StrEnum):
    """What became of one attempt to submit."""

    STARTED = "started"
    NEVER_SENT = "never_sent"
    BUSY = "busy"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    PENDING = "pending"
    SUCCEEDED = "succeeded"


#: An attempt that can execute nothing any more.
CLOSED: Final = frozenset({Attempt.NEVER_SENT, Attempt.BUSY, Attempt.REJECTED})
#: An attempt that does not count against ``attempts_max``.
UNCOUNTED: Final = frozenset({Attempt.NEVER_SENT, Attempt.BUSY})

_ATTEMPT_AFTER: Final = {
    Verdict.NEVER_SENT: Attempt.NEVER_SENT,
    Verdict.BUSY: Attempt.BUSY,
    Verdict.FUNDS: Attempt.REJECTED,
    Verdict.REJECTED: Attempt.REJECTED,
    Verdict.PENDING: Attempt.PENDING,
    Verdict.SUCCEEDED: Attempt.SUCCEEDED,
}


class Case(StrEnum):
    """Why a person has to look."""

    NUMBER_TAKEN = "number_taken"  # "exists" on the very first attempt
    VANISHED = "vanished"  # "not found" for a number that the provider knew
    NOT_RESENDABLE = "not_resendable"  # trusted "not found", but no safe way to send again
    CONTRADICTED = "contradicted"  # evidence against a final state
    AGED = "aged"  # not final for too long
    UNASKABLE = "unaskable"  # unknown, and neither query nor callback
    LIMIT = "limit"  # a provider's limit that fails after intake
    UNANNOUNCED = "unannounced"  # an announcement that cannot be delivered


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One exchange's verdict, with what the provider said beside it."""

    verdict: Verdict
    #: The provider's code or ours (``connect_failed``); empty where there is none.
    code: str = ""
    #: For people; bounded and free of secrets.
    message: str = ""
    #: The provider's own number of this refund.
    provider_refund_no: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What an account's settings and its provider's nature decide."""

    deduplicates: bool
    attempts_max: int
    not_found_needed: int
    not_found_over: timedelta
    funds_same_number: bool
    releases_on_acceptance: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Where a refund stands: the part of its row that decisions read and write."""

    state: State
    #: Number of the latest attempt, 0 before the first.
    attempt: int = 0
    #: Attempts that may have been sent, closed ones included.
    sent: int = 0
    #: Attempts that may have been sent and are not closed.
    open_sent: int = 0
    #: An authentic answer showed that the provider knows the number.
    known: bool = False
    #: Trusted "not found" answers in a row, and when the first of them came.
    not_found: int = 0
    not_found_since: datetime | None = None
    #: Lets go of its order once accepted (``until_accepted``).
    releases: bool = False
    #: A contradiction has reserved the amount again.
    contested: bool = False

    @property
    def holds(self) -> bool:
        """Whether no other refund of the order may go (protocol, "States")."""
        if self.state is QUEUED:
            return self.open_sent > 0
        if self.state is PENDING:
            return not self.releases
        return self.state in (SUBMITTING, UNKNOWN)


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A question to the provider, as it stood when it was sent."""

    #: Latest attempt, and the refund's state, at that moment.
    attempt: int
    state: State
    #: Sent after the grace of that attempt: nothing of ours can still be on its way.
    after_grace: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What to write: the new standing, the event's kind, and a case where one is due."""

    event: str
    standing: Standing
    #: What becomes of the answered attempt; None leaves it.
    attempt: Attempt | None = None
    #: Every open attempt is closed as rejected (a decline that was asked for).
    closes_all: bool = False
    case: Case | None = None
    #: No further refund of the order goes before a person has looked.
    freezes: bool = False


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
    standing: Standing, attempt: int, was: Attempt, outcome: Outcome, rules: Rules
) -> Change | None:
    """T3: what the answer to attempt number ``attempt``, which ``was``, changes; None: nothing."""
    if outcome.verdict is Verdict.SUCCEEDED:
        return _absorb(standing, Attempt.SUCCEEDED)
    after = _close_attempt(standing, was, outcome.verdict)
    becomes = _ATTEMPT_AFTER.get(outcome.verdict, Attempt.UNKNOWN)
    if attempt != standing.attempt or standing.state not in (SUBMITTING, UNKNOWN):
        return _note_late(standing, after, was, becomes)
    return _answered(after, outcome, rules, becomes)


def decide_question(
    standing: Standing, question: Question, outcome: Outcome, rules: Rules, now: datetime
) -> Change | None:
    """What the answer to a question changes; None: nothing but that it was asked."""
    if outcome.verdict is Verdict.SUCCEEDED:
        return _absorb(standing, None)
    if standing.state in FINAL:
        asked_since = question.state is standing.state and question.attempt == standing.attempt
        return _watched(standing, outcome.verdict) if asked_since else None
    if standing.attempt != question.attempt or standing.state not in (UNKNOWN, PENDING):
        return None
    if outcome.verdict is Verdict.PENDING:
        accepted = replace(standing, releases=rules.releases_on_acceptance)
        return _heard_of(standing, replace(accepted, state=PENDING))
    if outcome.verdict is Verdict.KNOWN:
        state = UNKNOWN if standing.holds else standing.state
        return _heard_of(standing, replace(standing, state=state))
    if outcome.verdict is Verdict.REJECTED:
        return _declined(standing, question)
    if outcome.verdict is Verdict.NOT_FOUND:
        return _not_found(standing, question, rules, now)
    return None


def _absorb(standing: Standing, attempt: Attempt | None) -> Change | None:
    """Positive evidence counts whatever attempt it came from; it never overwrites a final state."""
    if standing.state in OPEN:
        after = replace(standing, state=SUCCEEDED, known=True)
        return Change(event="succeeded", standing=after, attempt=attempt)
    if standing.state is SUCCEEDED or standing.contested:
        return None
    return _contradiction(standing, attempt)


def _contradiction(standing: Standing, attempt: Attempt | None = None) -> Change:
    return Change(
        event="contradicted",
        standing=replace(standing, known=True, contested=True),
        attempt=attempt,
        case=Case.CONTRADICTED,
        freezes=True,
    )


def _close_attempt(standing: Standing, was: Attempt, verdict: Verdict) -> Standing:
    becomes = _ATTEMPT_AFTER.get(verdict, Attempt.UNKNOWN)
    if becomes not in CLOSED or was not in (Attempt.STARTED, Attempt.UNKNOWN):
        return standing
    return replace(
        standing,
        open_sent=standing.open_sent - 1,
        sent=standing.sent - (becomes in UNCOUNTED),
    )


def _note_late(before: Standing, after: Standing, was: Attempt, becomes: Attempt) -> Change | None:
    """An answer to an attempt that is not the current one any more closes it, nothing else."""
    if after == before or was not in (Attempt.STARTED, Attempt.UNKNOWN):
        return None
    return Change(event="late_answer", standing=after, attempt=becomes)


def _answered(after: Standing, outcome: Outcome, rules: Rules, becomes: Attempt) -> Change:
    verdict = outcome.verdict
    if verdict in (Verdict.NEVER_SENT, Verdict.BUSY):
        return Change(event=verdict, standing=replace(after, state=QUEUED), attempt=becomes)
    if verdict in (Verdict.REJECTED, Verdict.FUNDS):
        return _rejected(after, verdict, rules)
    if verdict is Verdict.PENDING:
        after = replace(after, state=PENDING, known=True, releases=rules.releases_on_acceptance)
        return Change(event=verdict, standing=after, attempt=becomes)
    known = after.known or verdict in (Verdict.KNOWN, Verdict.EXISTS)
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
        state, event = QUEUED, "waiting_for_funds"
    else:
        state, event = FAILED, "failed"
    known = after.known or verdict is Verdict.REJECTED
    return Change(
        event=event, standing=replace(after, state=state, known=known), attempt=Attempt.REJECTED
    )


def _heard_of(before: Standing, after: Standing) -> Change | None:
    after = replace(after, known=True, not_found=0, not_found_since=None)
    return Change(event=after.state, standing=after) if after != before else None


def _declined(standing: Standing, question: Question) -> Change | None:
    """With several attempts the decline may be an older one's, while the newest is on its way."""
    if standing.sent > 1 and not question.after_grace:
        return None
    after = replace(standing, state=FAILED, known=True, open_sent=0)
    return Change(event="failed", standing=after, closes_all=True)


def _not_found(
    standing: Standing, question: Question, rules: Rules, now: datetime
) -> Change | None:
    if standing.known:
        return Change(event="vanished", standing=standing, case=Case.VANISHED)
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


def _watched(standing: Standing, verdict: Verdict) -> Change | None:
    """A final refund was asked about again; what contradicts it opens a case."""
    if standing.contested:
        return None
    if standing.state is SUCCEEDED:
        return _watched_success(standing, verdict)
    if verdict in (Verdict.PENDING, Verdict.KNOWN):
        return _contradiction(standing)
    return None


def _watched_success(standing: Standing, verdict: Verdict) -> Change | None:
    if verdict is Verdict.REJECTED:
        return Change(event="contradicted", standing=standing, case=Case.CONTRADICTED, freezes=True)
    if verdict is Verdict.NOT_FOUND:
        return Change(event="vanished", standing=standing, case=Case.VANISHED)
    return None
