"""Bills that differ in every possible way, on real processes: one case for every difference."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import text

from refundry.fields import SHANGHAI
from tests.e2e.service import eventually
from tests.e2e.stack import FINAL, PROVIDERS, ROOT, Job, Stack, running

CHINESE = """
refund_no = "商户退款单号"
provider_refund_no = "退款流水号"
order_no = "商户订单号"
amount = "退款金额"
at = "退款时间"
state = "退款状态"
"""
#: One provider's bill in UTF-8 with a mark and in yuan, one's in GBK and below zero.
LAYOUTS = {
    "hk": f"""
[accounts.hk.statement]
succeeded = ["退款成功"]
failed = ["退款失败"]
complete_after_h = 0
[accounts.hk.statement.columns]{CHINESE}""",
    "bf": f"""
[accounts.bf.statement]
encoding = "gbk"
succeeded = ["成功"]
failed = ["失败"]
complete_after_h = 0
[accounts.bf.statement.columns]{CHINESE}""",
}
#: How a refund's line differs, with the kind of its case.
DIFFERING = {
    "missing": "missing",
    "amount": "amount_differs",
    "state": "state_differs",
    "doubled": "doubled",
}
LINES = 30_000


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """An installation of its own, whose accounts have layouts."""
    folder = tmp_path_factory.mktemp(f"reconciliation-{request.param}")
    url = f"sqlite:///{folder / 'ledger.sqlite'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_database")
    with running(folder, url, own=LAYOUTS) as one:
        yield one


def rows(stack: Stack, sql: str, **values: Any) -> list[Any]:
    with stack.ledger.read() as connection:
        return list(connection.execute(text(sql), values).all())


def cases(stack: Stack) -> Counter[tuple[str, str, str]]:
    found = rows(stack, "SELECT account, kind, subject FROM cases")
    return Counter((row.account, row.kind, row.subject) for row in found)


def bill(stack: Stack, account: str, path: Path) -> Path:
    """The provider's bill as it is now."""
    answer = requests.get(
        f"{stack.sim.url}/_sim/statement", params={"provider": PROVIDERS[account]}, timeout=5
    )
    path.write_bytes(answer.content)
    return path


def differ(stack: Stack, account: str, refund_no: str, how: str, **more: Any) -> None:
    message = {"provider": PROVIDERS[account], "refund": refund_no, "differ": how}
    stack.sim.control("statement", [message | more])


def test_every_difference_becomes_one_case_of_its_kind_however_often_it_is_run(
    stack: Stack, tmp_path: Path
) -> None:
    expected: Counter[tuple[str, str, str]] = Counter()
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    jobs = {account: settled(stack, account) for account in LAYOUTS}
    stack.await_states([job for own in jobs.values() for job in own], FINAL)
    for account, own in jobs.items():
        expected += make_differ(stack, account, own)
    for name in ("first.csv", "later.csv"):
        for account in LAYOUTS:
            path = bill(stack, account, tmp_path / f"{account} {name}")
            window = ("--since", since, "--until", datetime.now(UTC).isoformat())
            stack.refundry("statement", "import", str(path), "--account", account, *window)
            day = datetime.now(SHANGHAI).date().isoformat()
            code = 1 if name == "first.csv" else 0
            stack.refundry("reconcile", "--account", account, "--day", day, code=code)
        assert cases(stack) == expected
    for entry in stack.sim.book():
        assert entry["executions"] <= 1  # nothing was repaired by sending
    stack.refundry("audit")
    stack.refundry("statement", "report", "--html", str(tmp_path / "report.html"))


def settled(stack: Stack, account: str) -> list[Job]:
    """A refund that agrees, one that the provider declines, and one of every way to differ."""
    jobs = [stack.job(account, f"{account}REC{number}", 100) for number in range(6)]
    jobs = [stack.plan(job, fate="succeed") for job in jobs[:5]] + [
        stack.plan(jobs[5], fate="decline")
    ]
    paid = {"provider": PROVIDERS[account], "paid": 1000}
    stack.sim.control("orders", [paid | {"order": job["order_no"]} for job in jobs])
    stack.produce(jobs)
    return jobs


def make_differ(stack: Stack, account: str, jobs: list[Job]) -> Counter[tuple[str, str, str]]:
    """Have the bill differ in each possible way; the cases that it has to open."""
    expected: Counter[tuple[str, str, str]] = Counter()
    for job, (how, kind) in zip(jobs[1:5], DIFFERING.items(), strict=True):
        differ(stack, account, job["refund_no"], how, amount=101)
        expected[account, kind, job["refund_no"]] += 1
    differ(stack, account, jobs[5]["refund_no"], "state")
    expected[account, "state_differs", jobs[5]["refund_no"]] += 1
    for order, kind in ((jobs[0]["order_no"], "unrecorded"), (f"{account}NEVER", "not_ours")):
        extra = f"{account}{kind}"
        differ(stack, account, extra, "extra", order=order, amount=7)
        expected[account, kind, extra] += 1
    return expected


def test_beat_begins_a_run_of_every_account(stack: Stack) -> None:
    def ended() -> bool:
        found = rows(
            stack, "SELECT account FROM reconciliations WHERE begun_by = 'beat' AND phase = 'ended'"
        )
        return {row.account for row in found} == set(PROVIDERS)

    eventually(ended, "every account has a run of beat that has ended")


def test_an_import_that_is_killed_is_finished_by_the_next(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    heading = "商户退款单号,退款流水号,商户订单号,退款金额,退款时间,退款状态\n"
    lines = (f"K{number},,KO,0.01,2026-01-31,退款失败\n" for number in range(LINES))
    path.write_text(heading + "".join(lines))
    command = ("statement", "import", str(path), "--account", "hk")

    def kept() -> int:
        sql = "SELECT count(*) AS lines FROM statement_lines WHERE refund_no LIKE 'K%'"
        return int(rows(stack, sql)[0].lines)

    with subprocess.Popen(
        [sys.executable, "-m", "worker.cli", *command], env=stack.service.environment, cwd=ROOT
    ) as process:
        eventually(lambda: kept() > 0, "the first lines are kept")
        process.kill()
    assert 0 < kept() < LINES
    stack.refundry("reconcile", "--account", "hk")
    unread = rows(stack, "SELECT DISTINCT result FROM statement_lines WHERE refund_no LIKE 'K%'")
    assert [row.result for row in unread] == ["new"]  # nothing is compared with a part
    said = stack.refundry(*command)
    assert f"{LINES} refunds" in said
    assert f"{LINES} no_money" in said
    assert kept() == LINES
    assert "was imported before" in stack.refundry(*command)
