"""A file system that is full: nothing is sent unwritten, and it goes on once there is room."""

import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from tests.e2e.service import eventually
from tests.e2e.stack import PROVIDERS, Job, Stack, running
from tests.faults.servers import PostgresServer, RedisServer
from tests.integration.builders import SOMEBODY
from worker.steps.command import pause, resume

#: The whole of a small file system; the rest of a test's files are elsewhere.
SIZE = "64m"
#: Refunds that are to be sent when the disk is full: more than have room in what is taken.
WAITING = 40
#: What workers say of jobs that they cannot take, and of orders that they cannot work on.
NOTICED = ("intake.put_back", '{"task": "refunds.submit"')
#: Refunds that the workers wonder about: more lines than have room in a log's last page.
DOUBTFUL = 48
ATTEMPTS = """SELECT refund_no FROM refunds JOIN attempts ON refund_id = refunds.id
WHERE status <> 'never_sent'"""


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of its own in memory. It takes root, as continuous integration has."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=755", "tmpfs", str(folder)]
    subprocess.run(mount, check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Take every byte that is left."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(b"\0" * size):
                    pass
            except OSError:
                continue
    return ballast


@pytest.fixture(params=["sqlite", "postgresql"])
def disk_and_stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, Stack]]:
    """The disk has the ledger alone."""
    with small_disk(tmp_path / "disk") as disk:
        if request.param == "sqlite":
            with running(tmp_path, f"sqlite:///{disk / 'ledger.sqlite'}") as one:
                yield disk, one
        else:
            with PostgresServer(disk / "postgres") as server:
                with running(tmp_path, server.new_database()) as one:
                    yield disk, one


def refunds(
    stack: Stack, name: str, accounts: Iterable[str] = PROVIDERS, *, each: int, submit: str
) -> list[Job]:
    """Refunds of the accounts, each on an order of its own."""
    jobs = [
        stack.job(account, f"{name}{number}", 100) for account in accounts for number in range(each)
    ]
    return [stack.plan(job, fate="succeed", submit=[submit]) for job in jobs]


def sent(stack: Stack) -> Counter[str]:
    """How often each refund came to its provider."""
    return Counter(event["refund"] for event in stack.sim.log(event="submit_in"))


def written(stack: Stack) -> Counter[str]:
    """How many attempts of each refund the ledger knows that may have been sent."""
    with stack.ledger.read() as connection:
        return Counter(connection.execute(text(ATTEMPTS)).scalars())


def waiting(stack: Stack, account: str) -> list[Job]:
    """Accepted refunds that an account which was stopped keeps back until now."""
    pause(stack.ledger, account, SOMEBODY)
    jobs = refunds(stack, "WAITING", [account], each=WAITING, submit="ok")
    stack.produce(jobs)
    eventually(lambda: len(stack.rows()) == len(jobs), "all are accepted")
    return jobs


def test_a_ledger_on_a_full_disk_sends_nothing_unwritten_and_loses_nothing(
    disk_and_stack: tuple[Path, Stack],
) -> None:
    disk, stack = disk_and_stack
    jobs = waiting(stack, "hk")
    before = refunds(stack, "BEFORE", ["qp", "bf", "ga"], each=2, submit="slow:2")
    stack.produce(before)
    for job in before:
        stack.sim.await_log(event="EXECUTED", refund=job["refund_no"])
    resume(stack.ledger, "hk", SOMEBODY)
    ballast = fill(disk)
    during = refunds(stack, "DURING", each=6, submit="slow:2")
    stack.produce(jobs + during)  # what was accepted is looked at once more
    eventually(lambda: is_noticed(stack), f"they say {NOTICED}, or send what is unwritten")
    assert sent(stack) - written(stack) == {}
    rows = stack.rows()
    assert not all(job["refund_no"] in rows for job in during)
    eventually(lambda: are_answered(stack, before), "no answer could be written down")
    ballast.unlink()
    stack.compare_what_was_interrupted(jobs + before + during)
    assert sent(stack) == written(stack)
    assert stack.seen("reaped") == []
    assert stack.overlaps() == []


def is_noticed(stack: Stack) -> bool:
    """Whether the workers have said so; or go on as if nothing were the matter."""
    return all(words in logs(stack) for words in NOTICED) or sent(stack) - written(stack) != {}


def are_answered(stack: Stack, jobs: list[Job]) -> bool:
    """Whether somebody keeps an answer until it can be written down, or all were."""
    rows = stack.rows()
    states = {rows[job["refund_no"]].state for job in jobs}
    return "submit.outcome_not_committed" in logs(stack) or "submitting" not in states


def test_a_full_disk_below_logs_and_home_ends_no_process(tmp_path: Path, postgres_url: str) -> None:
    names = ("worker-1", "worker-2", "beat")
    with small_disk(tmp_path / "home") as disk, RedisServer(tmp_path / "redis") as redis:
        with running(tmp_path, postgres_url, environment={"REFUNDRY_BROKER_URL": redis.url}) as one:
            pids = {name: one.service.pid_of(name) for name in names}
            ballast = fill(disk)
            jobs = refunds(one, "HOME", each=2, submit="garbage")
            doubtful = refunds(one, "DOUBTS", ["bf"], each=DOUBTFUL, submit="ok")
            jobs += [job | {"extra": {"advanceAmt": 101}} for job in doubtful]
            one.produce(jobs)
            one.compare_with_the_book(jobs)
            assert {name: one.service.pid_of(name) for name in names} == pids
            assert all(psutil.pid_exists(pid) for pid in pids.values())
            ballast.unlink()


def logs(stack: Stack) -> str:
    folder = stack.service.home / "logs"
    return "".join((folder / f"worker-{number}.log").read_text() for number in (1, 2))
