"""An older backup of the ledger is restored under load: nothing is executed twice for it."""

import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from refundry import RefundClient
from tests.databases import new_database
from tests.e2e.service import eventually
from tests.e2e.stack import NOT_SENT_AGAIN, PROVIDERS, Job, Stack, running
from tests.faults.backups import restore_backup, take_backup
from worker.ledger import query_first
from worker.ledger.reports import ExportRow

#: The moment of the backup, and of the end, is drawn by it.
SEED = 20260131
#: An order that asks first, or whose message was lost, is looked at again after a minute.
PATIENCE_S = 200.0
#: What becomes of the refunds of an order, in turn.
FATES = ("succeed", "decline", "succeed", "pending:3")
ORDERS = 3
OVER = {"succeeded", "failed"}


@dataclass
class Load:
    """Refunds of every provider, several of an order, that take their time."""

    stack: Stack
    jobs: list[Job]

    def rows(self) -> dict[str, ExportRow]:
        return self.stack.rows()

    def over(self, *accounts: str) -> int:
        rows = self.rows().values()
        return sum(row.state in OVER and row.account in (accounts or PROVIDERS) for row in rows)

    def await_over(self, share: float) -> None:
        most = int(len(self.jobs) * share)
        eventually(lambda: self.over() >= most, f"{most} refunds are over")

    def book(self) -> dict[str, Any]:
        return {entry["refund"]: entry for entry in self.stack.sim.book()}


def loaded(stack: Stack) -> Load:
    for provider in PROVIDERS.values():
        stack.sim.control("dial", {"provider": provider, "latency_s": [0.1, 0.6]})
    # the one that is nobody's to send twice executes whatever comes: nothing but us prevents it
    stack.sim.control("dial", {"provider": "guanaitong", "deduplicates": False})
    jobs = []
    for account in PROVIDERS:
        for number in range(ORDERS):
            for fate in FATES:
                again = account == "qp" and fate == "decline"
                job = stack.job(account, f"RESTORE{number}", 100)
                jobs.append(stack.plan(job, fate=["decline", "succeed"] if again else fate))
    return Load(stack, jobs)


def resubmit_what_failed(load: Load) -> None:
    """Producers ask for some failed refunds again, after the backup."""
    failed = [row for row in load.rows().values() if (row.account, row.state) == ("qp", "failed")]
    with RefundClient(load.stack.service.urls["broker"]) as client:
        for row in failed[::2]:
            client.resubmit(row.account, row.refund_no, row.attempts)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_what_a_backup_does_not_know_is_asked_about_and_not_executed_again(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    if database == "postgresql":
        url = new_database(request.getfixturevalue("postgres"))
    draw = random.Random(SEED)
    with running(tmp_path, url) as stack:
        load = loaded(stack)
        half = len(load.jobs) // 2
        stack.refundry("pause", "ga")  # whose refunds the backup calls queued for certain
        stack.produce(load.jobs[::2] + load.jobs[1:half:2])
        load.await_over(draw.uniform(0.1, 0.2))
        take_backup(url, tmp_path / "backup")
        stack.refundry("resume", "ga")
        stack.produce(load.jobs)  # some of them once more
        resubmit_what_failed(load)
        eventually(lambda: load.over("ga") > 1, "what was queued is executed")
        load.await_over(draw.uniform(0.4, 0.6))
        stack.kill_workers()
        stack.service.stop()
        stack.ledger.engine.dispose()
        restore_backup(url, tmp_path / "backup")
        lost = executed_and_lost(load)
        stack.refundry("query-first", "begin", "--reason=the older backup")
        stack.refundry("resume", "ga")
        stack.sim.control("dial", {"provider": "guanaitong", "query": {"http_500": 1.0}})
        stack.service.start()
        eventually(lambda: was_asked(load, lost, times=3), "it asks, and gets no answer")
        stack.sim.control("dial", {"provider": "guanaitong", "query": {}})
        stack.produce(load.jobs)  # whoever was not told how it ended asks again
        over = "every refund is over, or a person's"
        eventually(lambda: is_settled(load), over, stack.rows, PATIENCE_S)
        ends_as_the_book_says(load)
        for account in PROVIDERS:
            stack.refundry("query-first", "end", account)
        stack.refundry("audit")


def executed_and_lost(load: Load) -> dict[str, int]:
    """How often each was asked about that would be executed again, if it were sent again."""
    book = load.book()
    queued = [row.refund_no for row in load.rows().values() if row.state == "queued"]
    lost = {
        number: book[number]["queries"]
        for number in queued
        if book.get(number, {}).get("executions") and book[number]["provider"] == "guanaitong"
    }
    assert lost, "nothing would be executed twice: the test would show nothing"
    return lost


def was_asked(load: Load, lost: dict[str, int], times: int) -> bool:
    """Whether each was asked about so many times more."""
    book = load.book()
    return all(book[number]["queries"] >= before + times for number, before in lost.items())


def is_settled(load: Load) -> bool:
    rows = load.rows()
    mine = [rows.get(job["refund_no"]) for job in load.jobs]
    with load.stack.ledger.read() as connection:
        left = [query_first.count_uncleared(connection, name, ["qp"]) for name in PROVIDERS]
    over = all(row is not None and (row.state in OVER or row.case) for row in mine)
    return over and not any(left)


def ends_as_the_book_says(load: Load) -> None:
    book = load.book()
    refunded: dict[tuple[str, str], int] = defaultdict(int)
    for number, row in load.rows().items():
        entry = book[number]
        assert entry["executions"] <= 1, entry
        if row.account in NOT_SENT_AGAIN and entry["executions"]:
            assert entry["submits"] == 1, entry
        refunded[row.account, row.order_no] += entry["executions"] * entry["amount"]
        assert row.state == entry["state"] or row.case, (row, entry)
        if row.state == "succeeded":
            assert entry["executions"] == 1, (row, entry)
    assert max(refunded.values()) <= 1000
    assert load.stack.overlaps() == []
