"""What the commands open."""

from config.settings import load_settings
from worker.ledger.engine import Ledger, create_ledger_engine


def open_ledger() -> Ledger:
    """The ledger that the environment names."""
    return Ledger(create_ledger_engine(load_settings().database()))
