"""Whether a bill is read rightly at all, pure: where many lines differ alike, the layout is wrong.

A wrong unit, column or day makes every line differ. That is one thing to look at, not thousands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from worker.refund import Case
from worker.statements.judging import Ours, Result
from worker.statements.reading import StatementLine


class Sign(StrEnum):
    """In which way a line differs; kept with its bill, how many do."""

    HUNDREDFOLD = "hundredfold"
    HUNDREDTH = "hundredth"
    OTHER_AMOUNT = "other_amount"
    OTHER_ORDER = "other_order"
    OTHER_STATE = "other_state"
    DOUBLED = "doubled"
    UNKNOWN_NUMBER = "unknown_number"
    UNMATCHED = "unmatched"
    #: Of a refund that the bill should have.
    MISSING = "missing"


#: What the lines of each sign have in common, and what is most likely wrong.
_SAID: Final[dict[Sign, tuple[str, str]]] = {
    Sign.HUNDREDFOLD: ("have a hundred times our amount", 'set unit = "fen"'),
    Sign.HUNDREDTH: ("have a hundredth of our amount", 'set unit = "yuan"'),
    Sign.OTHER_AMOUNT: ("have another amount than we", "columns.amount may be another column"),
    Sign.OTHER_ORDER: ("name another order than we", "columns.order_no may be another column"),
    Sign.OTHER_STATE: (
        "say paid where we say not, or the reverse",
        "succeeded and failed may be exchanged, or columns.state another column",
    ),
    Sign.DOUBLED: (
        "have a number that an earlier line has",
        "columns.refund_no may be another column, or the file have its lines twice",
    ),
    Sign.UNKNOWN_NUMBER: (
        "have a number that is none of ours",
        "columns.refund_no may be another column, or the bill another merchant's",
    ),
    Sign.UNMATCHED: (
        "have no number, and are no refund's by order, amount and day",
        "look at columns.order_no, unit, columns.at and time_formats",
    ),
    Sign.MISSING: (
        "refunds paid in its time are in no bill",
        "it may cover other days (columns.at, time_formats, --since, --until) or not be whole",
    ),
}
_OF_CASES: Final[dict[Case | Result, Sign]] = {
    Result.WAITING: Sign.OTHER_STATE,
    Case.MISMATCHED: Sign.OTHER_ORDER,
    Case.DOUBLED: Sign.DOUBLED,
    Case.UNRECORDED: Sign.UNKNOWN_NUMBER,
    Case.NOT_OURS: Sign.UNKNOWN_NUMBER,
}
_FACTOR: Final = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """From when on a bill is doubted: both must be passed."""

    #: Lines that differ in the same way.
    lines: int
    #: Their part of all lines, 0 to 1.
    share: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Doubt:
    """What makes it likely that a bill is read wrongly."""

    sign: Sign
    #: How many lines have it, of how many.
    count: int
    of: int

    def __str__(self) -> str:
        said, advice = _SAID[self.sign]
        what = "" if self.sign is Sign.MISSING else "lines "
        return f"{self.count} of {self.of} {what}{said}: {advice}"


def sign_of(result: Case | Result, line: StatementLine, ours: Ours) -> Sign:
    """In which way a line differs from its refund."""
    if result is Case.AMOUNT_DIFFERS:
        return _sign_of_amounts(line.amount, ours.amount)
    return _OF_CASES[result]


def sign_of_stranger(line: StatementLine, of_order: Sequence[Ours]) -> Sign:
    """In which way a line of no refund differs; ``of_order`` are the refunds of its order."""
    if line.refund_no or line.provider_refund_no:
        return Sign.UNKNOWN_NUMBER
    signs = {_sign_of_amounts(line.amount, ours.amount) for ours in of_order}
    return next((one for one in (Sign.HUNDREDFOLD, Sign.HUNDREDTH) if one in signs), Sign.UNMATCHED)


def _sign_of_amounts(theirs: int, ours: int) -> Sign:
    if theirs == ours * _FACTOR:
        return Sign.HUNDREDFOLD
    return Sign.HUNDREDTH if theirs * _FACTOR == ours else Sign.OTHER_AMOUNT


def doubt(signs: Mapping[str, int], lines: int, limits: Limits) -> Doubt | None:
    """The strongest doubt of a bill of so many lines; None where it may be compared."""
    most = max(signs, key=lambda name: signs[name], default=None)
    if most is None or signs[most] <= max(limits.lines, limits.share * lines):
        return None
    return Doubt(sign=Sign(most), count=signs[most], of=lines)
