"""``refundry statement`` and ``refundry reconcile``, as operators type them."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.command_line import installed, invoke
from tests.simulator.harness import Sim

ACCOUNT = """[accounts.shop]
provider = "quickpay"
base_url = "{url}/qp"
store_no = "S1"
operator = "ops"

[accounts.shop.statement]
columns = {{ refund_no = "no", order_no = "order", amount = "amount", at = "day" }}
"""
HEAD = "no,order,amount,day\n"

Run = Callable[..., str]


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sim: Sim, valkey: str
) -> Iterator[Callable[..., str]]:
    """Runs a command on an installation with one account; its standard output."""
    runtime = installed(tmp_path, monkeypatch, ACCOUNT.format(url=sim.url), valkey)

    def run(*arguments: str, code: int = 0) -> str:
        done = invoke(*arguments)
        assert done.exit_code == code, done.output
        return done.stdout

    yield run
    runtime.ledger.engine.dispose()


@pytest.fixture
def bill(run: Run, tmp_path: Path) -> Path:
    """A bill with a refund that nobody here has asked for, whose number is a formula."""
    path = tmp_path / "bill.csv"
    path.write_text(f"{HEAD}=1+1,<O9>,0.10,2026-01-31\n合计,,0.10,\n")
    return path


def imported(run: Run, bill: Path, *arguments: str) -> Any:
    return json.loads(run("statement", "import", str(bill), "--account=shop", "--json", *arguments))


def test_an_import_says_what_it_has_read_and_found(run: Run, bill: Path) -> None:
    first, again = imported(run, bill), imported(run, bill)
    assert (first["lines"], first["paid"], first["skipped"], first["repeated"]) == (1, 10, 1, False)
    assert first["results"] == {"not_ours": 1, "cases": 1}
    assert (again["id"], again["repeated"], again["results"]) == (first["id"], True, {})
    said = run("statement", "import", str(bill), "--account=shop")
    assert said.startswith("bill.csv was imported before as statement 1: 1 refunds of 10 fen paid")


def test_a_bill_that_is_read_wrongly_is_one_finding_until_a_person_accepts_it(
    run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.csv"
    path.write_text(HEAD + "".join(f"Y{n},O{n},0.10,2026-01-31\n" for n in range(101)))
    command = ("statement", "import", str(path), "--account=shop", "--json")
    for cases in ({"cases": 1}, {}):
        shown = json.loads(run(*command, code=1))
        assert shown["results"] == cases
        assert "columns.refund_no may be another column" in shown["doubt"]
    (listed,) = json.loads(run("statement", "list", "--json"))
    assert listed["doubt"] == shown["doubt"]
    accept = ("statement", "accept", str(shown["id"]), "--reason=another system's", "--by=ann")
    assert "101 not_ours" in run(*accept)
    assert len(json.loads(run("case", "list", "--json"))) == 101
    with pytest.raises(SystemExit, match="1"):
        run(*accept)


def test_the_time_that_a_bill_covers_may_be_said(run: Run, bill: Path) -> None:
    imported(run, bill, "--since=2026-01-30", "--until=2026-01-31T12:00")
    (row,) = json.loads(run("statement", "list", "--json"))
    assert row["covers_from"].startswith("2026-01-29 16:00")
    assert row["covers_until"].startswith("2026-01-31 04:00")
    assert row["results"] == {"not_ours": 1}
    assert "bill.csv" in run("statement", "list", "--account=shop")


@pytest.mark.parametrize(
    "window",
    [
        ["--since=2026-01-31"],
        ["--since=x", "--until=y"],
        ["--since=2026-02-01", "--until=2026-01-31"],
    ],
)
def test_a_time_that_cannot_be_meant_is_refused(run: Run, bill: Path, window: list[str]) -> None:
    run("statement", "import", str(bill), "--account=shop", *window, code=2)


def test_a_report_is_a_table_a_csv_and_a_page(run: Run, bill: Path, tmp_path: Path) -> None:
    imported(run, bill)
    assert "not_ours" in run("statement", "report")
    (row,) = csv.DictReader(io.StringIO(run("statement", "report", "--csv", "--statement=1")))
    assert (row["kind"], row["their_refund_no"], row["their_amount"]) == ("not_ours", "'=1+1", "10")
    page = tmp_path / "report.html"
    run("statement", "report", f"--html={page}")
    text = page.read_text()
    assert "<svg" in text
    assert "&lt;O9&gt;" in text
    assert not re.search(r"<O9>|<script|src=|href=|https?://", text)
    run("statement", "report", f"--html={tmp_path / 'none' / 'x.html'}", code=2)


def test_a_run_by_hand_ends_with_1_where_it_opened_a_case(
    run: Run, bill: Path, sim: Sim, number: str
) -> None:
    shown = json.loads(run("reconcile", "--account=shop", "--day=2026-01-31", "--json"))
    assert shown["counts"]["refunds"] == 0
    assert "shop run 2 ended" in run("reconcile")
    (first, *_) = json.loads(run("statement", "report", "--json"))["runs"]
    assert (first["run"], first["phase"], first["by"]) == (2, "ended", "hand")


def test_a_day_or_an_order_that_cannot_be_meant_is_refused(run: Run) -> None:
    run("reconcile", "--day=31.1.", code=2)
    run("reconcile", "--order=O1", code=2)
    with pytest.raises(SystemExit, match="1"):
        run("reconcile", "--account=shop", "--order=O1")


def test_a_run_opens_the_cases_of_a_bill_that_an_import_left(
    run: Run, bill: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("worker.cli.statements.compare_statements", lambda *_: ({}, True))
        imported(run, bill)
    shown = json.loads(run("reconcile", "--account=shop", "--json", code=1))
    assert shown["counts"]["cases"] == 1
    again = json.loads(run("reconcile", "--account=shop", "--json"))
    assert again["counts"].get("cases", 0) == 0
