"""More than the workers can do waits, in order; their memory stays as it is."""

from collections.abc import Iterator
from functools import partial

import psutil
import pytest

from tests.e2e.service import eventually
from tests.e2e.stack import PROVIDERS, Stack, running
from worker.ledger.reports import ExportRow

#: Refunds of one order.
HOT = 1000
#: Refunds of orders of their own, whose provider takes so long that 64 threads need ten times as
#: long as intake.
BACKLOG, LATENCY_S = 640, 1.0
#: What two workers may have more at the end than at the beginning, in bytes.
GROWTH = 200 << 20


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, postgres_database: str) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("load"), postgres_database) as one:
        yield one


def memory(stack: Stack) -> int:
    return sum(psutil.Process(pid).memory_info().rss for pid in stack.worker_pids())


def test_refunds_of_one_hot_order_go_in_order_one_at_a_time_and_within_its_cap(
    stack: Stack,
) -> None:
    before = memory(stack)
    jobs = [stack.job("qp", "HOT", 1, order_amount=HOT) for _ in range(HOT)]
    beyond = stack.job("qp", "HOT", 1, order_amount=HOT)
    stack.produce([*jobs, beyond])
    for count in range(HOT // 10, HOT + 1, HOT // 10):
        eventually(partial(has_sent, stack, "qp", count), f"{count} are sent")
        numbers = sent(stack, "qp")
        assert numbers == [row.refund_no for row in of(stack, "qp")][: len(numbers)]
    await_all(stack, "qp", HOT)
    assert len(sent(stack, "qp")) == len(of(stack, "qp")) == HOT
    assert stack.overlaps() == []
    assert sum(entry["amount"] for entry in stack.sim.book() if entry["executions"]) == HOT
    assert memory(stack) - before < GROWTH
    stack.refundry("audit")


def test_a_backlog_waits_and_drains(stack: Stack) -> None:
    before = memory(stack)
    stack.sim.control("dial", {"provider": "hkrt", "latency_s": [LATENCY_S, LATENCY_S]})
    jobs = [stack.job("hk", f"WAITS{number}", 1) for number in range(BACKLOG)]
    stack.produce(jobs)
    await_all(stack, "hk", BACKLOG)
    stack.compare_with_the_book(jobs)
    assert stack.overlaps() == []
    assert memory(stack) - before < GROWTH


def of(stack: Stack, account: str) -> list[ExportRow]:
    """An account's refunds, in the order of intake."""
    return [row for row in stack.rows().values() if row.account == account]


def sent(stack: Stack, account: str) -> list[str]:
    """What came to the account's provider, in its order."""
    found = stack.sim.log(event="submit_in", provider=PROVIDERS[account])
    return [event["refund"] for event in found]


def has_sent(stack: Stack, account: str, count: int) -> bool:
    return len(sent(stack, account)) >= count


def await_all(stack: Stack, account: str, count: int) -> None:
    """Wait until so many of the account's refunds have succeeded."""
    eventually(
        lambda: sum(row.state == "succeeded" for row in of(stack, account)) == count,
        f"{count} of {account} have succeeded",
    )
