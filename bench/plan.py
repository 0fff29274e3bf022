"""How much of everything one bench measures."""

from dataclasses import dataclass
from pathlib import Path

from bench.servers import Servers


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The servers, and the sizes that the themes go by."""

    servers: Servers
    #: Where drawings go that no curve makes.
    folder: Path
    repetitions: int
    #: Refunds of one run.
    count: int
    #: Refunds that the ledger holds when intake and submit are measured on top of them.
    history: int
    #: Open refunds that a poll tick finds the due ones among.
    open_refunds: int
    #: Jobs that wait when the worker starts.
    backlog: int
