"""Gateways that tests share, once on each database."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text

from tests.gateway.harness import Gateway
from worker.ledger.engine import Ledger, create_ledger_engine
from worker.ledger.migrate import upgrade


def open_ledger(url: str) -> Iterator[Ledger]:
    upgrade(url)
    engine = create_ledger_engine(url)
    yield Ledger(engine)
    engine.dispose()


def new_database(server_url: str) -> str:
    """URL of a database that the server takes along when it ends with the tests."""
    name = f"g{secrets.token_hex(6)}"
    server = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    server.dispose()
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, valkey: str
) -> Iterator[Gateway]:
    """One gateway a module; its tests use numbers of their own."""
    folder = tmp_path_factory.mktemp("gateway")
    url = f"sqlite:///{folder / 'ledger.sqlite'}"
    if request.param == "postgresql":
        url = new_database(request.getfixturevalue("postgres"))
    for ledger in open_ledger(url):
        with Gateway(folder, ledger, valkey) as one:
            yield one
            assert one.stop() == 0, one.log()
            assert "gateway.fault" not in one.log()


@pytest.fixture
def own_ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger of the test's own, for gateways that something is missing of."""
    yield from open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")


@pytest.fixture
def names() -> dict[str, Any]:
    """An order and a refund of the test's own."""
    own = secrets.token_hex(6)
    return {"order_no": f"O{own}", "refund_no": f"R{own}"}
