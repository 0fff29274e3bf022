"""Imports on real processes: they are killed, and compared with the provider's book."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from openpyxl import Workbook
from sqlalchemy import text

from tests.e2e.service import eventually
from tests.e2e.stack import PROVIDERS, Job, Stack

COLUMNS = ("account", "order_no", "refund_no", "amount", "order_amount", "reason", "paid_at")
#: Refunds of each account.
PER_ACCOUNT = 150
#: A run ends by SIGKILL once it has taken in so many rows more, in turn: soon, late, at once.
KILLS = (0, 1, 80, 0, 150, 1, 100)
#: Rows of a workbook; a run of it ends while the sheet is read, or once so many more are taken in.
SHEET_ROWS = int(os.environ.get("IMPORT_ROWS", "1200"))
SHEET_KILLS = (0.0, 0.1, 0.25, 0.5)
FAULTS = ("ok", "timeout_after", "reset_after", "garbage")
FATES = ("succeed", "decline", "pending:2")


def good_jobs(stack: Stack) -> list[Job]:
    """Four refunds of an order; some are declined, pend, or have their answer lost."""
    jobs = []
    for number in range(PER_ACCOUNT):
        for account in PROVIDERS:
            job = stack.job(account, f"FILE{number // 4}", 100 + number % 100)
            fate = FATES[number % 3] if number % 20 < 3 else "succeed"
            fault = FAULTS[number % 4] if number % 40 < 4 else "ok"
            jobs.append(stack.plan(job, fate=fate, submit=[fault]))
    return jobs


def write(path: Path, jobs: list[Job]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(jobs)


def write_workbook(path: Path, jobs: list[Job]) -> None:
    book = Workbook(write_only=True)
    sheet = book.create_sheet()
    sheet.append(COLUMNS)
    for job in jobs:
        sheet.append([job[name] for name in COLUMNS])
    book.save(path)


def written(stack: Stack) -> int:
    """Rows that were read and written down."""
    with stack.ledger.read() as connection:
        return int(connection.execute(text("SELECT count(*) FROM import_rows")).scalar_one())


def taken(stack: Stack) -> int:
    """Rows that have their verdict."""
    sql = "SELECT count(*) FROM import_rows WHERE verdict <> 'waiting'"
    with stack.ledger.read() as connection:
        return int(connection.execute(text(sql)).scalar_one())


def noted(stack: Stack) -> bool:
    with stack.ledger.read() as connection:
        return bool(connection.execute(text("SELECT count(*) FROM imports")).scalar_one())


def begun(stack: Stack, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "worker.cli", "import", *arguments]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, env=stack.service.environment, stdout=quiet, stderr=quiet)


def kill_after(stack: Stack, rows: int, *arguments: str) -> bool:
    """Begin a run and kill it once it has taken in so many rows; whether it was still at work."""
    before, process = taken(stack), begun(stack, *arguments)

    def reached() -> bool:
        return process.poll() is not None or (noted(stack) and taken(stack) >= before + rows)

    eventually(reached, "the import goes on")
    process.kill()
    return process.wait(60) == -signal.SIGKILL


def test_an_import_that_is_killed_again_and_again_accounts_for_every_row(
    stack: Stack, tmp_path: Path
) -> None:
    jobs = good_jobs(stack)
    too_much = stack.job("qp", "FILE0", 999)
    unreadable = stack.job("hk", "FILE0", 0)
    path, out = tmp_path / "refunds.csv", tmp_path / "result.csv"
    write(path, [*jobs[:50], too_much, unreadable, jobs[7], *jobs[50:]])
    total = sum(job["amount"] for job in jobs)
    options = (str(path), f"--budget={total - 1}", "--canary=3")
    killed = [kill_after(stack, rows, *options) for rows in KILLS]
    assert sum(killed) > 3, "a quick run is over before it is killed"
    both = [begun(stack, *options) for _ in range(2)]
    assert [process.wait(120) for process in both] == [1, 1]
    (shown,) = json.loads(stack.refundry("import", "list", "--json"))
    assert (shown["state"], shown["spent"]) == ("paused", total - jobs[-1]["amount"])
    stack.refundry("import", "resume", "1", f"--budget={total}", code=1)
    stack.compare_with_the_book(jobs)
    shown = json.loads(stack.refundry("import", "show", "1", f"--result={out}", "--json"))
    assert (shown["state"], shown["spent"], shown["row_count"]) == ("done", total, len(jobs) + 3)
    assert_accounted_for(stack, out, jobs)
    assert stack.overlaps() == []


def kill_while_reading(stack: Stack, *arguments: str) -> bool:
    """Begin a run and kill it once its first rows are written down; whether more would follow."""
    before, process = written(stack), begun(stack, *arguments)
    while process.poll() is None and written(stack) == before:
        pass
    process.kill()
    return process.wait(60) == -signal.SIGKILL


def test_a_workbook_that_is_killed_while_it_is_read_and_taken_in_is_taken_in_once(
    stack: Stack, tmp_path: Path
) -> None:
    jobs = [stack.job("qp", f"SHEET{row // 4}", 100 + row % 100) for row in range(SHEET_ROWS)]
    path, out = tmp_path / "refunds.xlsx", tmp_path / "result.csv"
    write_workbook(path, jobs)
    assert kill_while_reading(stack, str(path))
    killed = [kill_after(stack, int(share * SHEET_ROWS), str(path)) for share in SHEET_KILLS]
    assert any(killed), "a quick run is over before it is killed"
    assert begun(stack, str(path), f"--result={out}").wait() == 0
    (shown, *_) = json.loads(stack.refundry("import", "list", "--json"))
    total = sum(job["amount"] for job in jobs)
    assert (shown["state"], shown["spent"], shown["row_count"]) == ("done", total, SHEET_ROWS)
    with out.open(encoding="utf-8-sig", newline="") as file:
        rows = [(int(row["row"]), row["refund_no"], row["verdict"]) for row in csv.DictReader(file)]
    assert rows == [(row, job["refund_no"], "accepted") for row, job in enumerate(jobs, start=2)]
    stack.compare_with_the_book(jobs)
    asked = Counter(job["refund_no"] for job in jobs)
    sent = Counter(event["refund"] for event in stack.sim.log(event="EXECUTED"))
    assert {number: sent[number] for number in asked} == asked


def assert_accounted_for(stack: Stack, out: Path, jobs: list[Job]) -> None:
    """A line a row, each as the provider's book says; and nothing else was executed."""
    with out.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["row"]) for row in rows] == list(range(2, len(jobs) + 5))
    refused = [(row["row"], row["code"]) for row in rows if row["verdict"] == "refused"]
    assert refused == [("52", "over_refund"), ("53", "invalid"), ("54", "doubled")]
    accepted = {row["refund_no"]: row["state"] for row in rows if row["verdict"] == "accepted"}
    assert len(rows) == len(accepted) + 3
    book = stack.book()
    assert accepted == {job["refund_no"]: book[job["refund_no"]]["state"] for job in jobs}
    executed = Counter(event["refund"] for event in stack.sim.log(event="EXECUTED"))
    assert set(executed) <= set(accepted)
    assert max(executed.values()) == 1
