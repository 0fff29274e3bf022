"""Clocks that step: nothing is settled by one, no lease is judged wrong, and all of it goes on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.service import eventually
from tests.e2e.stack import FINAL, PROVIDERS, Job, Stack, running
from tests.faults.clock import WrongClock
from tests.faults.servers import RedisServer
from worker.ledger import reports

HOUR_S = 3600


@pytest.fixture
def clock(tmp_path: Path) -> WrongClock:
    return WrongClock(tmp_path / "clock")


@contextmanager
def with_a_wrong_clock(folder: Path, url: str, clock: WrongClock) -> Iterator[Stack]:
    """The clock of every process of ours; the servers' and the simulator's stay right."""
    with RedisServer(folder / "redis") as redis:
        environment = clock.environment | {"REFUNDRY_BROKER_URL": redis.url}
        with running(folder, url, environment=environment) as stack:
            stack.service.urls["broker"] = redis.url  # with its password
            yield stack


def under_way(stack: Stack, name: str) -> list[Job]:
    """Refunds of every account, the first of which has reached its provider."""
    jobs = [
        stack.job(account, f"{name}{number}", 100) for account in PROVIDERS for number in (1, 2)
    ]
    for job in jobs:
        stack.plan(job, fate="succeed", submit=["slow:2"])
    stack.produce(jobs)
    await_sent(stack, jobs[0])
    return jobs


def await_sent(stack: Stack, job: Job) -> None:
    number = job["refund_no"]
    eventually(lambda: stack.sim.log(event="submit_in", refund=number) != [], f"{number} is sent")


def sent_again(stack: Stack, jobs: list[Job]) -> dict[str, int]:
    """How often each refund was sent that was not sent once, by the provider's book."""
    book = stack.book()
    submits = {job["refund_no"]: book[job["refund_no"]]["submits"] for job in jobs}
    return {number: times for number, times in submits.items() if times != 1}


def is_paused(stack: Stack, account: str) -> bool:
    with stack.ledger.read() as connection:
        rows = reports.account_rows(connection, stack.ledger.now(connection))
    return any(row.account == account and row.paused_at for row in rows)


def are_final(stack: Stack, jobs: list[Job]) -> bool:
    """Whether they are; where a provider whose requests carry the time lets nobody in, resume."""
    if is_paused(stack, "ga"):
        stack.refundry("resume", "ga")
    rows = stack.rows()
    return all(job["refund_no"] in rows and rows[job["refund_no"]].state in FINAL for job in jobs)


def test_clocks_that_step_by_an_hour_settle_nothing_and_repeat_nothing(
    tmp_path: Path, postgres_url: str, clock: WrongClock
) -> None:
    with with_a_wrong_clock(tmp_path, postgres_url, clock) as stack:
        jobs = under_way(stack, "AHEAD")
        clock.step(HOUR_S)
        jobs += under_way(stack, "BACK")
        clock.step(-HOUR_S)
        jobs += under_way(stack, "BEHIND")
        clock.step(0)
        jobs += under_way(stack, "RIGHT")
        eventually(lambda: are_final(stack, jobs), "all is final")
        stack.compare_with_the_book(jobs)
        assert stack.seen("reaped") == []
        assert sent_again(stack, jobs) == {}
        assert stack.overlaps() == []


def test_a_ledgers_own_clock_that_steps_ahead_repeats_nothing(
    tmp_path: Path, clock: WrongClock
) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    with with_a_wrong_clock(tmp_path, url, clock) as stack:
        jobs = under_way(stack, "AHEAD")
        for job in jobs:  # a provider whose requests carry the time lets nobody in afterwards
            await_sent(stack, job)
        clock.step(HOUR_S)
        stack.compare_with_the_book(jobs)
        assert sent_again(stack, jobs) == {}
        assert stack.overlaps() == []
