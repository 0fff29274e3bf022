"""What a bill's line says beside the refund that it is of, pure."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

from refundry import State
from worker.refund import CANCELED, FAILED, OPEN, QUEUED, REVERSED, SUBMITTING, SUCCEEDED, Case
from worker.statements.reading import StatementLine


class Result(StrEnum):
    """What has become of a line; beside these, the kind of the case that it opened."""

    NEW = "new"  # nobody has looked for its refund yet
    UNNUMBERED = "unnumbered"  # its numbers are nobody's; order, amount and day have to do
    LINKED = "linked"  # its refund is found, and not compared yet
    DIFFERS = "differs"  # it does; what comes of that waits until all lines were looked at
    WAITING = "waiting"  # the states differ, and the provider is asked first
    AGREED = "agreed"
    OVERTAKEN = "overtaken"  # an earlier decline of what was paid later
    NO_MONEY = "no_money"  # a decline of what is not in the ledger


#: What a line that later agrees explains, or the refund that turns up in a later bill.
EXPLAINABLE: Final = (Case.AMOUNT_DIFFERS, Case.STATE_DIFFERS, Case.MISSING)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ours:
    """A refund of the ledger, as far as a bill can be compared with it."""

    id: int
    order_id: int
    account: str
    refund_no: str
    provider_refund_no: str | None
    order_no: str
    amount: int
    state: State
    #: Attempts that may have been sent.
    sent: int
    #: By Shanghai's calendar: when it was asked for, and when it came into its state.
    first_day: date
    state_day: date


@dataclass(frozen=True, kw_only=True, slots=True)
class Beside:
    """The other lines of the refund in the same bill."""

    #: One of them says that it was paid, wherever it stands.
    paid: bool
    #: One of them does, and stands before the line.
    paid_before: bool


def judge(line: StatementLine, ours: Ours, beside: Beside) -> Result | Case:
    """What the line says of the refund; ``WAITING`` where the states differ."""
    if line.succeeded and beside.paid_before:
        return Case.DOUBLED
    if not line.succeeded and (beside.paid or _is_overtaken(line, ours)):
        return Result.OVERTAKEN
    if line.order_no and line.order_no != ours.order_no:
        return Case.MISMATCHED
    if not _states_agree(line, ours):
        return Result.WAITING
    return Case.AMOUNT_DIFFERS if line.amount != ours.amount else Result.AGREED


def _is_overtaken(line: StatementLine, ours: Ours) -> bool:
    """The decline is older than our success, or than our wish to send it again."""
    if ours.state in (QUEUED, SUBMITTING):
        return True
    if ours.state is not SUCCEEDED or line.day is None:
        return False
    return line.day < ours.state_day or (line.day == ours.state_day and ours.sent > 1)


def _states_agree(line: StatementLine, ours: Ours) -> bool:
    if line.succeeded:
        return ours.state in (SUCCEEDED, REVERSED)
    return ours.state in (FAILED, CANCELED, REVERSED)


def of_no_refund(line: StatementLine, *, order_known: bool) -> Result | Case:
    """A line whose refund is not in the ledger."""
    if not line.succeeded:
        return Result.NO_MONEY
    return Case.UNRECORDED if order_known else Case.NOT_OURS


def choose(line: StatementLine, candidates: list[Ours], taken: set[int]) -> Ours | None:
    """The refund of a line without a number of ours: by order, amount and day.

    Each refund is one line's; those that are in the state that the line says go first, then those
    whose day is the line's.
    """
    fitting = [
        one
        for one in candidates
        if one.id not in taken
        and (one.order_no, one.amount) == (line.order_no, line.amount)
        and _may_be(line, one)
    ]
    return min(fitting, key=lambda one: _distance(line, one), default=None)


def _may_be(line: StatementLine, ours: Ours) -> bool:
    numbered = line.provider_refund_no and ours.provider_refund_no
    if numbered and line.provider_refund_no != ours.provider_refund_no:
        return False
    if line.day is None:
        return True
    return ours.first_day <= line.day and (ours.state in OPEN or line.day <= ours.state_day)


def _distance(line: StatementLine, ours: Ours) -> tuple[bool, bool, int]:
    return not _states_agree(line, ours), line.day != ours.state_day, ours.id
