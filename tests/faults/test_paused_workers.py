"""Workers that stop beyond every deadline and go on, beside others that took over meanwhile."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest

from refundry import State
from tests.e2e.service import Service, eventually
from tests.e2e.stack import PROVIDERS, Job, Stack, running
from tests.faults.servers import RedisServer

#: Refunds of each account, two an order, that are under way when the workers stop.
EACH = 24
#: How long a provider is at work on one of them: longer than lock and lease, which are 25.5 s.
PENDING_S = 36.0


@pytest.fixture
def stack(tmp_path: Path, postgres_url: str) -> Iterator[Stack]:
    with RedisServer(tmp_path / "redis") as redis:
        with running(tmp_path, postgres_url, environment={"REFUNDRY_BROKER_URL": redis.url}) as one:
            yield one


@contextmanager
def second_supervisor(stack: Stack) -> Iterator[Service]:
    """Another ``refundry up`` with a beat, a gateway and workers of its own."""
    environment = {
        name: value
        for name, value in stack.service.environment.items()
        if name.startswith("REFUNDRY_") and name not in ("REFUNDRY_HOME", "REFUNDRY_GATEWAY_PORT")
    }
    home = stack.service.home.with_name("second")
    with Service(home, "--workers=2", **environment) as one:
        yield one


def under_way(stack: Stack) -> tuple[list[Job], list[Job]]:
    """Refunds of every account; and those that came to their provider and were not answered."""
    jobs = [
        stack.job(account, f"STOP{number // 2}", 100)
        for account in PROVIDERS
        for number in range(EACH)
    ]
    executed, pending = jobs[::EACH], jobs[2::EACH]
    for job in executed:
        stack.plan(job, fate="succeed", submit=["slow:4"])
    for job in pending:
        stack.plan(job, fate="pending:99", settle_s=PENDING_S, submit=["slow:4"])
    first = executed + pending
    stack.produce(first + [job for job in jobs if job not in first])
    for job in executed:
        eventually(partial(is_executed, stack, job), f"{job['refund_no']} is executed")
    for job in pending:
        eventually(partial(is_known, stack, job), f"{job['refund_no']} is pending")
    return jobs, first


def is_executed(stack: Stack, job: Job) -> bool:
    return bool(stack.sim.log(event="EXECUTED", refund=job["refund_no"]))


def is_known(stack: Stack, job: Job) -> bool:
    return job["refund_no"] in stack.book()


def in_flight(stack: Stack) -> set[str]:
    """Refunds that a worker is at; one whose answer was late is not among them any more."""
    return {number for number, row in stack.rows().items() if row.state == State.SUBMITTING}


def test_workers_that_were_stopped_beyond_lock_and_lease_change_nothing_when_they_go_on(
    stack: Stack,
) -> None:
    jobs, unanswered = under_way(stack)
    stopped = [psutil.Process(pid) for pid in stack.worker_pids()]
    for process in stopped:
        process.send_signal(signal.SIGSTOP)
    begun = len(stack.sim.log(event="submit_in"))
    numbers = {job["refund_no"] for job in unanswered}
    caught = numbers & in_flight(stack)
    with second_supervisor(stack):
        eventually(lambda: not caught & in_flight(stack), "the leases have run out", stack.rows)
        for process in stopped:
            process.send_signal(signal.SIGCONT)
        stack.compare_what_was_interrupted(jobs)
    assert begun < len(jobs)
    assert caught & set(stack.seen("reaped"))  # a commit may have been on its way already
    assert stack.overlaps() == []
    book = stack.book()
    assert {number: book[number]["submits"] for number in numbers} == dict.fromkeys(numbers, 1)
    stack.refundry("audit")
