"""A process that stops while it sends keeps nobody from its rows for long (PostgreSQL)."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
from sqlalchemy import text

from refundry import State
from tests.databases import migrated
from tests.e2e.service import eventually
from tests.integration.conftest import MakeShop
from tests.simulator.harness import Sim
from worker.errors import RowsLocked
from worker.ledger import engine
from worker.ledger.engine import Ledger
from worker.steps.intake_lot import Accepted
from worker.steps.submit import submit


@contextmanager
def silent_writer(url: str, of: Accepted) -> Iterator[subprocess.Popen[str]]:
    """A process that has the order's row and was stopped in the midst of what it writes."""
    command = [sys.executable, "-m", "tests.integration.silent_writer", url]
    command += [str(of.order_id), str(of.refund_id)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            status = psutil.Process(process.pid).status
            eventually(lambda: status() == psutil.STATUS_STOPPED, "it has stopped", status)
            yield process
        finally:
            process.kill()


def is_waited_for(ledger: Ledger) -> bool:
    """Whether the server takes a session for one at work, and waits for the rest of it."""
    with ledger.read() as connection:
        waits = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND state = 'active' AND wait_event = 'ClientRead'"
        )
        return bool(connection.execute(waits).scalar_one())


def test_who_stops_in_the_midst_of_sending_keeps_the_order_for_a_while_only(
    postgres_url: str, make_shop: MakeShop, sim: Sim, number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "IDLE_IN_TRANSACTION_MS", 3000)
    monkeypatch.setattr(engine, "LOCK_WAIT_MS", 4000)
    with migrated(postgres_url) as ledger:
        shop = make_shop(ledger, sim.url)
        accepted = shop.accept(order_no=f"O{number}", refund_no=number)
        with silent_writer(postgres_url, accepted) as process:
            eventually(lambda: is_waited_for(ledger), "a part of it has come to the server")
            with pytest.raises(RowsLocked, match="waited too long"):
                submit(shop.runtime, accepted.order_id)
            submit(shop.runtime, accepted.order_id)
            assert shop.state(number) == State.SUCCEEDED
            process.send_signal(signal.SIGCONT)
            assert "ServiceAway" in process.communicate()[1]
        assert shop.audit() == []


def test_a_tick_ends_what_nobody_waits_for(
    postgres_url: str, make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "IDLE_IN_TRANSACTION_MS", 3000)
    with migrated(postgres_url) as ledger:
        with silent_writer(postgres_url, make_shop(ledger).accept()):
            eventually(lambda: is_waited_for(ledger), "a part of it has come to the server")
            ledger.end_silent_sessions()
            assert is_waited_for(ledger)

            def is_over() -> bool:
                ledger.end_silent_sessions()
                return not is_waited_for(ledger)

            eventually(is_over, "it has been silent for too long")


def test_who_is_at_work_is_not_taken_for_silent(
    postgres_url: str, make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's lock that is held for too long, as by a person: nothing is ended."""
    monkeypatch.setattr(engine, "LOCK_WAIT_MS", 1000)
    with migrated(postgres_url) as ledger:
        accepted = make_shop(ledger).accept()
        with ledger.engine.begin() as person:
            person.execute(text("SELECT 1 FROM orders FOR UPDATE"))
            with pytest.raises(RowsLocked):
                submit(make_shop(ledger).runtime, accepted.order_id)
            person.execute(text("SELECT 1"))
