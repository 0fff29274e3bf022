"""Ready: whether the ledger can be worked with."""

from typing import Literal, TypeAlias

from worker.errors import ServiceAway
from worker.ledger.engine import Ledger
from worker.ledger.migrate import ledger_is_current

LedgerState: TypeAlias = Literal["ok", "away", "not_migrated"]


def ledger_state(ledger: Ledger) -> LedgerState:
    """How the ledger is: it answers and has this version's schema, or what is wrong."""
    try:
        return "ok" if ledger_is_current(ledger) else "not_migrated"
    except ServiceAway:
        return "away"
