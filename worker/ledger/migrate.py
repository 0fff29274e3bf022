"""Brings a ledger's schema up to date."""

from functools import cache
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, make_url, text

from worker.ledger.engine import Ledger, create_ledger_engine

_FOLDER: Final = Path(__file__).parent / "migrations"
#: PostgreSQL's advisory lock, so that two migrations wait for each other.
_LOCK_KEY: Final = 0x5EF0_17D2


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade(url: str) -> None:
    """Create the schema or bring it up to date; harmless when it is, and when run twice at once.

    Raises:
        ServiceAway: the database does not answer.
    """
    _make_folder(url)
    engine = create_ledger_engine(url)
    try:
        with Ledger(engine).write() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL lock_timeout = 0"))
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK_KEY})"))
            command.upgrade(_config(connection), "head")
    finally:
        engine.dispose()


def is_current(url: str) -> bool:
    """Whether the schema is the one that this version works with.

    Raises:
        ServiceAway: the database does not answer.
    """
    engine = create_ledger_engine(url)
    try:
        return ledger_is_current(Ledger(engine))
    finally:
        engine.dispose()


def ledger_is_current(ledger: Ledger) -> bool:
    """The same of a ledger that is open."""
    with ledger.read() as connection:
        return MigrationContext.configure(connection).get_current_heads() == _wanted_heads()


@cache
def _wanted_heads() -> tuple[str, ...]:
    return tuple(ScriptDirectory.from_config(_config()).get_heads())


def _make_folder(url: str) -> None:
    database = make_url(url).database
    if make_url(url).get_backend_name() == "sqlite" and database:
        Path(database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
