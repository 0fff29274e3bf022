"""``refundry import``: what it prints and writes, and the codes it ends with."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook
from sqlalchemy import text

from tests.integration.command_line import installed, invoke
from tests.integration.test_commands import ACCOUNTS
from worker.cli.setting import open_ledger
from worker.steps.import_commands import resume

ROWS = "order_no,refund_no,amount,order_amount\nO1,R1,0.29,1\nO1,R2,0.71,1\n"
WRONG = ROWS + "O1,R3,0.01,1\nO2,=cmd|'/C calc'!A1,0.01,1\n"

Run = Callable[..., tuple[int, list[Any]]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command with ``--json`` on an empty ledger: exit code, and each line it printed."""
    installed(tmp_path, monkeypatch, ACCOUNTS)

    def run(*arguments: str) -> tuple[int, list[Any]]:
        done = invoke(*arguments, "--json")
        return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()]

    return run


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], str]:
    """A file with that content, by its path."""

    def write(content: str) -> str:
        (tmp_path / "refunds.csv").write_text(content)
        return str(tmp_path / "refunds.csv")

    return write


def refunds(run: Run) -> dict[str, int]:
    (listed,) = run("list")[1]
    return {row["refund_no"]: row["amount"] for row in listed}


def test_a_file_is_taken_in_once_however_often_it_is_run(
    run: Run, file: Callable[[str], str]
) -> None:
    options = ("--account=shop", "--yuan", "--budget=100")
    code, (shown,) = run("import", file(ROWS), *options)
    assert (code, shown["state"], shown["spent"]) == (0, "done", 100)
    assert shown["totals"] == [{"account": "shop", "verdict": "accepted", "rows": 2, "amount": 100}]
    assert run("import", *options, file(ROWS)) == (0, [shown])
    assert run("import", "run", file(ROWS), *options) == (0, [shown])
    assert refunds(run) == {"R1": 29, "R2": 71}
    assert [row["id"] for row in run("import", "list")[1][0]] == [1]


def test_a_rehearsal_prints_a_verdict_a_row_and_leaves_nothing(
    run: Run, file: Callable[[str], str], tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    options = ("--account=shop", "--yuan", f"--result={out}")
    code, (*rows, last) = run("import", file(WRONG), "--rehearse", *options)
    assert [(row["row"], row["verdict"], row["code"]) for row in rows] == [
        (2, "accepted", ""),
        (3, "accepted", ""),
        (4, "refused", "over_refund"),
        (5, "refused", "invalid"),
    ]
    assert (code, last["rehearsed"]) == (1, "refunds.csv")
    assert {total["verdict"]: total["amount"] for total in last["totals"]} == {
        "accepted": 100,
        "refused": 1,
    }
    assert len(out.read_text().splitlines()) == 5
    assert (refunds(run), run("import", "list")[1], run("refused")[1]) == ({}, [[]], [[]])
    assert run("accounts")[1] == [[*run("accounts")[1][0]]]


def test_what_is_wrong_with_rows_is_in_the_result_and_in_the_code(
    run: Run, file: Callable[[str], str], tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    options = ("--account=shop", "--yuan", f"--result={out}")
    assert run("import", file(WRONG), *options)[0] == 1
    with out.open(encoding="utf-8-sig", newline="") as written:
        names, *rows = csv.reader(written)
    assert names == ["row", "refund_no", "verdict", "state", "code", "said"]
    assert [row[:5] for row in rows] == [
        ["2", "R1", "accepted", "queued", ""],
        ["3", "R2", "accepted", "queued", ""],
        ["4", "R3", "refused", "", "over_refund"],
        ["5", "'=cmd|'/C calc'!A1", "refused", "", "invalid"],
    ]
    run("cancel", "R1", "--account=shop")
    assert run("import", "show", "1", f"--result={out}")[0] == 0
    assert "2,R1,accepted,canceled" in out.read_text()


def test_an_import_that_its_budget_stops_goes_on_without_its_file(
    run: Run, file: Callable[[str], str]
) -> None:
    path = file(ROWS)
    code, (shown,) = run("import", path, "--account=shop", "--yuan", "--budget=99")
    assert (code, shown["state"], shown["spent"]) == (1, "paused", 29)
    assert shown["reason"] == "row 3 asks for 71 fen; 29 of the 99 are spent"
    Path(path).unlink()
    code, (shown,) = run("import", "resume", "1", "--budget=100")
    assert (code, shown["state"], shown["spent"]) == (0, "done", 100)
    for command in ("pause", "resume", "cancel"):
        with pytest.raises(SystemExit, match="1"):
            run("import", command, "1")


def test_an_import_is_paused_and_canceled(run: Run, file: Callable[[str], str]) -> None:
    run("import", file(ROWS), "--account=shop", "--yuan", "--budget=99")
    resume(open_ledger(), 1)
    assert run("import", "pause", "1", "--reason=month's end") == (0, [{"paused": 1}])
    code, (shown,) = run("import", file(ROWS), "--account=shop", "--yuan")
    assert (code, shown["state"], shown["reason"]) == (1, "paused", "month's end")
    assert run("import", "cancel", "1") == (0, [{"canceled": 1}])
    verdicts = {one["verdict"] for one in run("import", "show", "1")[1][0]["totals"]}
    assert verdicts == {"accepted", "canceled"}


def test_a_workbook_is_imported_like_a_csv(run: Run, tmp_path: Path) -> None:
    book = Workbook()
    assert book.active is not None
    for row in (("order_no", "refund_no", "amount", "order_amount"), ("O1", "R1", 0.29, 19.99)):
        book.active.append(row)
    book.save(tmp_path / "refunds.xlsx")
    assert run("import", str(tmp_path / "refunds.xlsx"), "--account=shop", "--yuan")[0] == 0
    assert refunds(run) == {"R1": 29}


@pytest.mark.parametrize(
    "wrong",
    [
        ("--rehearse", "--budget=5"),
        ("--rehearse", "--canary=1"),
        ("--budget=0",),
        ("--canary=-1",),
        ("--account=shop", "another"),
    ],
)
def test_options_that_do_not_go_together_are_a_wrong_usage(
    wrong: tuple[str, ...], run: Run, file: Callable[[str], str]
) -> None:
    assert run("import", file(ROWS), *wrong) == (2, [])


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", ROWS, "order_no\xff"])
def test_a_file_that_is_none_of_refunds_is_a_wrong_usage(
    content: str, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "refunds.csv").write_text(content, encoding="latin-1")
    for more in ((), ("--rehearse",)):
        with pytest.raises(SystemExit, match="2"):  # ROWS: no account is said
            run("import", str(tmp_path / "refunds.csv"), *more)
    with pytest.raises(SystemExit, match="2"):
        run("import", str(tmp_path / "nowhere.csv"))


def test_a_result_that_could_not_be_written_ends_it_before_anything_is_done(
    run: Run, file: Callable[[str], str], tmp_path: Path
) -> None:
    path = file(ROWS)
    for out in (tmp_path / "no" / "out.csv", tmp_path):
        for command in (("import", path, "--account=shop", "--yuan"), ("import", "resume", "1")):
            assert run(*command, f"--result={out}") == (2, [])
    assert refunds(run) == {}


def test_an_audit_names_an_import_whose_spent_is_not_what_its_rows_make(
    run: Run, file: Callable[[str], str]
) -> None:
    run("import", file(ROWS), "--account=shop", "--yuan")
    code, (shown,) = run("audit")
    assert (code, shown["imports"], shown["breaches"]) == (0, 1, 0)
    with open_ledger().write() as connection:
        connection.execute(text("UPDATE imports SET spent = 1"))
    code, (shown,) = run("audit")
    assert (code, shown["breaches"]) == (1, 1)
    assert shown["findings"][0]["row"] == "import 1"
