"""Databases and ledgers that tests make for themselves."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import create_engine, make_url, text

from worker.ledger.engine import Ledger, create_ledger_engine
from worker.ledger.migrate import upgrade


def new_database(server_url: str) -> str:
    """URL of an empty database that the server takes along when it ends with the tests."""
    name = f"t{secrets.token_hex(6)}"
    server = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    server.dispose()
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


@contextmanager
def opened(url: str) -> Iterator[Ledger]:
    """The ledger of a migrated database."""
    engine = create_ledger_engine(url)
    yield Ledger(engine)
    engine.dispose()


@contextmanager
def migrated(url: str) -> Iterator[Ledger]:
    """A ledger on an empty database."""
    upgrade(url)
    with opened(url) as one:
        yield one
