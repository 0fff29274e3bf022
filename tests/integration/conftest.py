"""A service around a ledger of the test's own; and ledgers that tests share and roll back."""

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from tests.databases import migrated, new_database, opened
from tests.integration.builders import NOWHERE, Shop, open_shop
from worker.ledger.engine import Ledger
from worker.ledger.migrate import upgrade
from worker.ledger.tables import metadata

MakeShop = Callable[..., Shop]


@pytest.fixture
def make_shop(valkey: str) -> Iterator[Callable[..., Shop]]:
    """Opens shops (a ledger, accounts, a clock that the test sets) and closes them."""
    with ExitStack() as shops:

        def make(ledger: Ledger, base_url: str = NOWHERE, **accounts: dict[str, Any]) -> Shop:
            return shops.enter_context(open_shop(ledger, valkey, base_url, accounts))

        yield make


@pytest.fixture
def number() -> str:
    """A number that no other test gives the simulator."""
    return f"N{secrets.token_hex(8)}"


@pytest.fixture
def shop(ledger: Ledger, make_shop: MakeShop) -> Shop:
    """A shop whose provider cannot be reached, once on SQLite and once on PostgreSQL."""
    return make_shop(ledger)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file; a copy is made much faster than a migration."""
    path = tmp_path_factory.mktemp("template") / "ledger.sqlite"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def used_ledger(postgres: str) -> Iterator[Ledger]:
    """The ledger that is emptied for every test that has one on PostgreSQL."""
    with migrated(new_database(postgres)) as one:
        yield one


@pytest.fixture
def postgres_ledger(used_ledger: Ledger) -> Ledger:
    """An empty ledger on PostgreSQL, where transactions really run at once."""
    tables = ", ".join(table.name for table in metadata.sorted_tables)
    with used_ledger.write() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text(f"TRUNCATE {tables} RESTART IDENTITY"))
    return used_ledger


def copied(template: Path, folder: Path) -> AbstractContextManager[Ledger]:
    """An empty ledger on SQLite."""
    return opened(f"sqlite:///{shutil.copy(template, folder)}")


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger of the test's own, once on SQLite and once on PostgreSQL."""
    if request.param == "postgresql":
        yield request.getfixturevalue("postgres_ledger")
    else:
        with copied(request.getfixturevalue("sqlite_template"), tmp_path) as one:
            yield one


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared_ledger(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ledger]:
    """A ledger for a module whose tests roll everything back, once on each database."""
    if request.param == "postgresql":
        with migrated(new_database(request.getfixturevalue("postgres"))) as one:
            yield one
    else:
        folder = tmp_path_factory.mktemp("shared")
        with copied(request.getfixturevalue("sqlite_template"), folder) as one:
            yield one


@pytest.fixture
def scratch(shared_ledger: Ledger) -> Iterator[Connection]:
    """A transaction on a migrated, empty ledger that is rolled back in the end."""
    with shared_ledger.engine.connect() as connection:
        transaction = connection.begin()
        yield connection
        transaction.rollback()
