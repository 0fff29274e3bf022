"""What is to be done about a case of each kind, and until when. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from worker.refund import FINAL, Case, Standing


class Deed(StrEnum):
    """What somebody did about a case."""

    OPENED = "opened"
    NOTED = "noted"
    ASSIGNED = "assigned"
    ASKED = "asked"
    SENT = "sent"
    RELEASED = "released"
    PROPOSED = "proposed"
    APPROVED = "approved"
    WITHDRAWN = "withdrawn"
    CLOSED = "closed"


class AccountDeed(StrEnum):
    """What somebody did about an account."""

    PAUSED = "paused"
    RESUMED = "resumed"
    FUNDED = "funded"
    BREAKER_OPENED = "breaker_opened"
    BREAKER_CLOSED = "breaker_closed"


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseRule:
    """How cases of a kind are worked on."""

    #: The SLA: from when it was opened to when it should be closed.
    within: timedelta
    #: A person may close it once nothing of its refund is open; else it is settled by two.
    by_hand: bool = True
    #: It is about how the refund ended, so it is closed where that is settled.
    settles: bool = True


_HOUR: Final = timedelta(hours=1)
#: Money may be wrong, or an order stands still.
_URGENT: Final = CaseRule(within=4 * _HOUR)
_DAY: Final = CaseRule(within=24 * _HOUR)
#: The same, of what is not about how a refund ended.
_URGENT_BESIDE: Final = CaseRule(within=4 * _HOUR, settles=False)
_DAY_BESIDE: Final = CaseRule(within=24 * _HOUR, settles=False)

#: A rule for every kind.
CASE_RULES: Final[dict[Case, CaseRule]] = {
    Case.NUMBER_TAKEN: _URGENT,
    Case.VANISHED: _DAY,
    Case.NOT_RESENDABLE: _URGENT,
    Case.CONTRADICTED: CaseRule(within=4 * _HOUR, by_hand=False),
    Case.AGED: _DAY,
    Case.UNASKABLE: _DAY,
    Case.MISMATCHED: _URGENT,
    Case.LIMIT: _DAY,
    Case.SEALED: _URGENT,
    Case.UNANNOUNCED: CaseRule(within=24 * _HOUR, settles=False),
    Case.LOST_INTENT: _URGENT,
    Case.APPROVAL: _URGENT,
    Case.HELD: CaseRule(within=_HOUR, settles=False),
    Case.NOT_OURS: _URGENT_BESIDE,
    Case.UNRECORDED: _URGENT_BESIDE,
    Case.AMOUNT_DIFFERS: _URGENT_BESIDE,
    Case.STATE_DIFFERS: _URGENT,
    Case.DOUBLED: _URGENT_BESIDE,
    Case.MISSING: _DAY,
    Case.FIGURES_DIFFER: _DAY_BESIDE,
    Case.BREACHED: _URGENT_BESIDE,
    Case.DOUBTFUL_BILL: _DAY_BESIDE,
}


def due_by(kind: Case, opened_at: datetime) -> datetime:
    """When a case of that kind should be closed at the latest."""
    return opened_at + CASE_RULES[kind].within


def why_not_closed(
    kind: Case, standing: Standing | None, *, proposed: bool, held: bool
) -> str | None:
    """Why a person cannot close a case now; None: he can.

    Args:
        kind: the case's.
        standing: its refund's, where it has one.
        proposed: a settlement of the refund is proposed.
        held: its order is held.
    """
    if proposed:
        return "a settlement is proposed: approve or withdraw it first"
    if not CASE_RULES[kind].by_hand or (standing is not None and standing.contested):
        return "money is contested: it is settled by two persons (`refundry case settle`)"
    if standing is not None and standing.state not in FINAL:
        return f"its refund is {standing.state}: ask, or settle it"
    if kind is Case.HELD and held:
        return "the order is still held: release it (`refundry release`)"
    return None
