"""The words of a refund's life, pure: states, the transition table, verdicts, outcomes, changes.

The database repeats the transition table in a trigger, and ``docs/states.md`` draws it; tests hold
the three against each other. What an outcome changes is decided in :mod:`worker.decisions`.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

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
    QUEUED: frozenset({SUBMITTING, CANCELED, SUCCEEDED, FAILED}),
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
#: Final; only a settlement by two persons or a resubmission goes on from here.
FINAL: Final = frozenset({SUCCEEDED, FAILED, CANCELED, REVERSED})
#: A provider can be asked about it.
ASKED_ABOUT: Final = (UNKNOWN, PENDING, FAILED, SUCCEEDED)


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
    MISCONFIGURED = "misconfigured"  # definitely not executed; the account is set up wrongly
    TOKEN = "token"  # definitely not executed; the access token is not valid any more
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
#: The event of a refund whose request had personal data in clear, and has it under seal now.
SEALED: Final = "sealed"
#: The event of a refund that waits for the merchant's balance at its provider to be filled up.
WAITING_FOR_FUNDS: Final = "waiting_for_funds"


class Case(StrEnum):
    """Why a person has to look."""

    NUMBER_TAKEN = "number_taken"  # "exists" on the very first attempt
    VANISHED = "vanished"  # "not found" for a number that the provider knew
    NOT_RESENDABLE = "not_resendable"  # trusted "not found", but no safe way to send again
    CONTRADICTED = "contradicted"  # evidence against a final state
    AGED = "aged"  # not final for too long
    UNASKABLE = "unaskable"  # unknown, and neither query nor callback
    MISMATCHED = "mismatched"  # the provider's own message names another order or amount
    LIMIT = "limit"  # a provider's limit that fails after intake
    SEALED = "sealed"  # its personal data cannot be opened, so that it cannot be sent
    UNANNOUNCED = "unannounced"  # an announcement that cannot be delivered
    LOST_INTENT = "lost_intent"  # the provider knows what the restored ledger has not sent
    APPROVAL = "approval"  # a large refund is not sent before a second person has approved it
    HELD = "held"  # an order that has been held for long; of no refund
    NOT_OURS = "not_ours"  # a bill has a refund of an order that nobody here has asked for
    UNRECORDED = "unrecorded"  # a bill has a refund of an order of ours that is not in the ledger
    AMOUNT_DIFFERS = "amount_differs"  # a bill has another amount
    STATE_DIFFERS = "state_differs"  # a bill says paid and the ledger not, or the reverse
    DOUBLED = "doubled"  # a bill has the refund as paid more than once
    MISSING = "missing"  # paid by the ledger, and in no bill that should have it
    FIGURES_DIFFER = "figures_differ"  # the provider's figures of the order are not the ledger's
    BREACHED = "breached"  # the audit found a broken promise
    DOUBTFUL_BILL = "doubtful_bill"  # a bill's lines differ alike: it is likely read wrongly


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What a provider says of a whole order, in fen; None where it says nothing of it."""

    #: Refunded so far.
    refunded: int | None = None
    #: Left to be refunded.
    left: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """A call and its answer as they are kept: masked and bounded text."""

    request: str
    #: None where no complete one came.
    answer: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One exchange's verdict, with what the provider said beside it."""

    verdict: Verdict
    #: The provider's code or ours (``unreached``); empty where there is none.
    code: str = ""
    #: For people; bounded and free of secrets.
    message: str = ""
    #: The provider's own number of this refund.
    provider_refund_no: str | None = None
    #: The order's, where the answer has them.
    figures: Figures | None = None
    #: The provider was called, and nothing trustworthy came back; the breaker counts it.
    unanswered: bool = False
    #: What it was read from, where a call was made.
    exchange: Exchange | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What an account's settings and its provider's nature decide."""

    deduplicates: bool
    attempts_max: int
    not_found_needed: int
    not_found_over: timedelta
    funds_same_number: bool
    releases_on_acceptance: bool
    #: The provider can be asked; else only its own messages and a person settle a refund.
    asks: bool


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
    #: An authentic answer had shown by then that the provider knows the number.
    known: bool
    #: The ledger was restored, and may have lost attempts that are still under way.
    restored: bool = False
    #: It may have lost some; what they left in the provider's book is there for ever.
    lost: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """A provider's own message about a refund, as it is when it is written down."""

    verdict: Verdict
    #: Its own time is too far off; it may be an old one, sent again by anybody.
    stale: bool
    #: It came after the grace of the latest attempt: nothing of ours can still be on its way.
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
    #: Nothing of the account goes before a person has set it right.
    pauses: bool = False
    #: The provider is to be asked as soon as it allows.
    asks: bool = False
    #: What a restored ledger may have lost of the refund is known now.
    clears: bool = False


def request_digest(fields: dict[str, Any]) -> str:
    """What the first event keeps of a request's wire fields, so that an audit sees a change."""
    text = json.dumps(fields, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
