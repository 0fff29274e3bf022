"""What an import is called at each point, what a row of it came to, and how it was asked for."""

from dataclasses import dataclass
from enum import StrEnum


class ImportState(StrEnum):
    """Where an import stands."""

    #: Its rows are being written down; nothing was asked yet.
    LOADING = "loading"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELED = "canceled"
    #: Every row has its verdict.
    DONE = "done"


class RowVerdict(StrEnum):
    """What intake said of a row."""

    WAITING = "waiting"
    ACCEPTED = "accepted"
    #: The same refund was in the ledger before.
    REPEATED = "repeated"
    REFUSED = "refused"
    #: The import was canceled before the row's turn came.
    CANCELED = "canceled"


#: The rows that have a refund.
WITH_REFUND = frozenset({RowVerdict.ACCEPTED, RowVerdict.REPEATED})


class Unit(StrEnum):
    """What a file's amounts are in."""

    FEN = "fen"
    YUAN = "yuan"


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """How a file is imported; the same file is imported on the same terms."""

    #: The account of rows that name none.
    account: str | None = None
    unit: Unit = Unit.FEN
    #: What all its accepted rows together may come to, in fen.
    budget: int | None = None
    #: So many rows go first, and the others only once those have succeeded.
    canary: int = 0
