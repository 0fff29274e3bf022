"""Each transaction of a submission loses its session on a real PostgreSQL, at its worst moment."""

import contextlib
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event

from refundry import State
from tests.databases import migrated
from tests.faults.servers import PostgresServer
from tests.integration.builders import MINUTE, Shop, open_shop
from tests.simulator.harness import Sim
from worker.errors import ServiceAway
from worker.ledger.engine import Ledger
from worker.steps.submit import submit

#: By what is cut: T1 writes the intent, T2 asks for the last time, T3 writes the outcome.
CUTS = {
    "T1": "INSERT INTO attempts",
    "T2": "SELECT refunds.id, attempts.number, attempts.started_at, accounts.breaker_until",
    "T3": "UPDATE attempts",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("steps") / "postgres") as one:
        yield one


@pytest.fixture
def ledger(server: PostgresServer) -> Iterator[Ledger]:
    with migrated(server.new_database()) as one:
        yield one


@pytest.fixture
def shop(ledger: Ledger, valkey: str, sim: Sim) -> Iterator[Shop]:
    with open_shop(ledger, valkey, sim.url, {}) as one:
        yield one


@pytest.fixture
def number() -> str:
    """A number that no other test gives the simulator."""
    return f"N{secrets.token_hex(8)}"


def cut_once(server: PostgresServer, ledger: Ledger, statement: str) -> list[str]:
    """Cut every session right before such a statement is sent for the first time; gives when."""
    cut: list[str] = []

    @event.listens_for(ledger.engine, "before_cursor_execute")
    def before(_connection: Any, _cursor: Any, sql: str, *_: Any) -> None:
        if sql.startswith(statement) and not cut:
            cut.append(sql)
            server.cut_connections()

    return cut


@pytest.mark.parametrize("step", CUTS)
def test_a_session_that_is_cut_off_neither_loses_nor_repeats_a_refund(
    server: PostgresServer, ledger: Ledger, shop: Shop, sim: Sim, number: str, step: str
) -> None:
    order_id = shop.accept(refund_no=number, order_no=f"O{number}", amount=30).order_id
    cut = cut_once(server, ledger, CUTS[step])
    with contextlib.suppress(ServiceAway):
        submit(shop.runtime, order_id)
    assert cut
    assert len(sim.book(refund=number)) == (step == "T3")
    assert (shop.state(number) is State.SUCCEEDED) == (step == "T3")
    shop.wait(MINUTE)
    submit(shop.runtime, order_id)
    assert shop.state(number) is State.SUCCEEDED
    assert [entry["executions"] for entry in sim.book(refund=number)] == [1]
    assert shop.audit() == []
