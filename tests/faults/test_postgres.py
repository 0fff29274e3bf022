"""PostgreSQL breaks under the main job: nothing is sent unwritten, lost, or done twice."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from tests.e2e.service import eventually
from tests.e2e.stack import PROVIDERS, Job, Stack, running
from tests.faults.servers import PostgresServer
from worker.ledger.engine import create_ledger_engine

#: So many sessions are cut off, one after the other, while refunds are under way.
CUTS = 8


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgres") / "postgres") as one:
        yield one


@pytest.fixture(scope="module")
def database(server: PostgresServer) -> str:
    return server.new_database()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("stack"), database) as one:
        yield one


def refunds(stack: Stack, name: str, each: int = 4) -> list[Job]:
    """Refunds of every account, two an order, whose provider takes its time."""
    jobs = [
        stack.job(account, f"{name}{number // 2}", 100)
        for account in PROVIDERS
        for number in range(each)
    ]
    return [stack.plan(job, fate="succeed", submit=["slow:0.3"]) for job in jobs]


def under_way(stack: Stack, name: str) -> list[Job]:
    """Such refunds, the first of which has reached its provider."""
    jobs = refunds(stack, name)
    stack.produce(jobs)
    stack.sim.await_log(event="submit_in", refund=jobs[0]["refund_no"])
    return jobs


def end_as_the_book_says(stack: Stack, jobs: list[Job]) -> None:
    stack.ledger.engine.dispose()  # the test's own sessions were cut off as well
    stack.compare_what_was_interrupted(jobs)
    assert stack.overlaps() == []


def test_a_restart_and_a_kill_under_load_lose_and_repeat_nothing(
    stack: Stack, server: PostgresServer
) -> None:
    before = stack.worker_pids()
    jobs = under_way(stack, "RESTART")
    server.restart()
    jobs += under_way(stack, "KILL")
    server.kill()
    server.start()
    end_as_the_book_says(stack, jobs)
    assert stack.worker_pids() == before


def test_sessions_that_are_cut_off_again_and_again_lose_and_repeat_nothing(
    stack: Stack, server: PostgresServer
) -> None:
    jobs = under_way(stack, "CUT")
    for job in jobs[:: len(jobs) // CUTS]:
        server.cut_connections()
        stack.sim.await_log(event="submit_in", refund=job["refund_no"])
    end_as_the_book_says(stack, jobs)


@pytest.mark.parametrize(
    "settings",
    [
        {"lock_timeout": "1ms"},
        {"default_transaction_isolation": "serializable"},
    ],
    ids=["lock timeouts", "serializable"],
)
def test_transactions_that_the_database_gives_up_are_tried_again(
    stack: Stack, server: PostgresServer, database: str, settings: dict[str, str]
) -> None:
    server.configure(database, **settings)
    jobs = under_way(stack, next(iter(settings)).upper())
    end_as_the_book_says(stack, jobs)
    server.reset(database)


@contextmanager
def locking_the_wrong_way_round(database: str) -> Iterator[Callable[[], int]]:
    """Somebody locks refunds before their orders; gives how often that was a deadlock for him."""
    engine, stop, deadlocks = create_engine(database), threading.Event(), []

    def lock_all() -> None:
        while not stop.is_set():
            try:
                with engine.begin() as connection:
                    for table in ("refunds", "orders"):
                        connection.execute(text(f"SELECT 1 FROM {table} FOR UPDATE"))
                        stop.wait(0.02)
            except DBAPIError as error:
                deadlocks.append(error)

    thread = threading.Thread(target=lock_all)
    thread.start()
    try:
        yield lambda: len(deadlocks)
    finally:
        stop.set()
        thread.join()
        engine.dispose()


def deadlocks_of(server: PostgresServer, database: str) -> int:
    """How many transactions the database has given up because of a deadlock, whosever."""
    engine = create_engine(database)
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        ).scalar_one()
    engine.dispose()
    return int(found)


def test_deadlocks_lose_and_repeat_nothing(
    stack: Stack, server: PostgresServer, database: str
) -> None:
    server.configure(database, deadlock_timeout="10ms")
    jobs: list[Job] = []

    def had_one() -> bool:
        """Whose transaction is given up is by chance; the next refunds are the next chance."""
        jobs.extend(under_way(stack, f"DEADLOCK{len(jobs)}-"))
        return deadlocks_of(server, database) > his()

    with locking_the_wrong_way_round(database) as his:
        eventually(had_one, "the service had a deadlock")
    end_as_the_book_says(stack, jobs)
    server.reset(database)


def test_a_read_only_database_lets_nothing_be_sent_and_everything_goes_on_afterwards(
    stack: Stack, server: PostgresServer, database: str
) -> None:
    under = under_way(stack, "WRITTEN")
    server.configure(database, default_transaction_read_only="on")
    jobs = refunds(stack, "READONLY")
    stack.produce(jobs)
    eventually(lambda: "read-only transaction" in worker_log(stack), "the workers have noticed")
    stack.ledger.engine.dispose()
    written = stack.rows()
    assert not any(job["refund_no"] in written for job in jobs)
    assert stack.sim.log(event="submit_in", refund=jobs[0]["refund_no"]) == []
    server.reset(database)
    end_as_the_book_says(stack, under + jobs)


def worker_log(stack: Stack) -> str:
    logs = stack.service.home / "logs"
    return "".join((logs / f"worker-{number}.log").read_text() for number in (1, 2))


def test_a_server_whose_packets_are_lost_is_given_up_within_seconds(server: PostgresServer) -> None:
    """What the kernel is told: a test cannot have it lose packets wherever tests run."""
    engine = create_ledger_engine(server.new_database())
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        with socket.socket(fileno=os.dup(driver.pgconn.socket)) as wire:
            asked = wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            silent_ms = wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            quiet_s = wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
    engine.dispose()
    assert (asked, silent_ms, quiet_s) == (1, 15_000, 5)
