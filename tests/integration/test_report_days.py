"""Reports over days: what was found of which kind, what it came to, and what stayed open."""

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from tests.integration.builders import insert
from tests.integration.command_line import installed, invoke
from tests.integration.test_commands import ACCOUNTS
from worker.cli.report_days import FOLLOWED, KINDS, day_rows
from worker.cli.setting import open_ledger
from worker.ledger.engine import Ledger
from worker.ledger.report_days import cases_by_day, differences_by_day
from worker.steps.statements import day_window

#: In Shanghai the day begins eight hours earlier: this is the first minute of the 31st.
FIRST = datetime(2026, 1, 30, 16, tzinfo=UTC)
DAY = timedelta(days=1)


def case(connection: Connection, number: int, kind: str, opened: datetime, **more: Any) -> None:
    values = {"account": "shop", "subject": f"S{number}", "owner": "x", "evidence": "{}"}
    insert(
        connection, "cases", id=number, kind=kind, opened_at=opened, due_at=opened, **values | more
    )


def difference(connection: Connection, number: int, kind: str, at: datetime, **more: Any) -> None:
    case(connection, number, kind, at, closed_at=more.pop("closed_at", None))
    values = {"account": "shop", "merchant": "M", "digest": f"d{number}", "case_id": number}
    insert(connection, "differences", id=number, kind=kind, found_at=at, **values | more)


def bill(connection: Connection, *amounts: int) -> None:
    values = {"account": "shop", "file_name": "f", "digest": "d", "layout": "l", "results": "{}"}
    times = {"covers_from": FIRST, "covers_until": FIRST + DAY, "begun_at": FIRST}
    insert(connection, "statements", id=1, lines=2, paid=1, skipped=0, **values | times)
    for number, amount in enumerate(amounts, start=1):
        line = {"refund_no": "X", "provider_refund_no": "", "order_no": "O", "result": "not_ours"}
        key = {"statement_id": 1, "number": number, "succeeded": True}
        insert(connection, "statement_lines", amount=amount, **key | line)


@pytest.fixture
def filled(scratch: Connection) -> Connection:
    """Three days: two kinds on the first, none on the second, one on the third."""
    insert(scratch, "accounts", name="shop", provider="quickpay", merchant="M")
    insert(scratch, "accounts", name="other", provider="quickpay", merchant="N")
    bill(scratch, 7, 30)
    case(scratch, 90, "missing", FIRST - DAY)
    case(scratch, 91, "aged", FIRST)
    case(scratch, 92, "missing", FIRST - DAY, closed_at=FIRST - timedelta(minutes=1))
    difference(scratch, 1, "not_ours", FIRST, statement_id=1, line=1)
    difference(scratch, 2, "not_ours", FIRST, statement_id=1, line=2, closed_at=FIRST + DAY)
    difference(scratch, 3, "missing", FIRST + DAY - timedelta(minutes=1), explained_at=FIRST)
    difference(scratch, 4, "doubled", FIRST + 2 * DAY)
    return scratch


def rows(connection: Connection, account: str | None = None) -> list[dict[str, Any]]:
    first, last = date(2026, 1, 31), date(2026, 2, 2)
    since = day_window(first, last).since
    found = differences_by_day(connection, account, since)
    return day_rows(found, cases_by_day(connection, account, FOLLOWED, since), first, last)


def test_every_day_has_a_row_with_its_kinds_amounts_and_cases(filled: Connection) -> None:
    shown = [
        {name: value for name, value in row.items() if value or name in ("day", "open")}
        for row in rows(filled)
    ]
    assert shown == [
        {
            "day": "2026-01-31", "found": 3, "not_ours": 2, "missing": 1, "explained": 1,
            "theirs": 37, "opened": 3, "open": 4,
        },
        {"day": "2026-02-01", "closed": 1, "open": 3},
        {"day": "2026-02-02", "found": 1, "doubled": 1, "opened": 1, "open": 4},
    ]  # fmt: skip


def test_another_accounts_days_are_empty(filled: Connection) -> None:
    assert {(row["found"], row["open"]) for row in rows(filled, "other")} == {(0, 0)}
    assert rows(filled, "shop") == rows(filled)


def test_the_rows_of_all_days_have_the_same_names(filled: Connection) -> None:
    (names,) = {tuple(row) for row in rows(filled)}
    assert set(KINDS) <= set(names)


@pytest.fixture
def ledger_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """An installation with a run that ended yesterday, and what it found."""
    runtime = installed(tmp_path, monkeypatch, ACCOUNTS)
    ledger = open_ledger()
    at = datetime.now(UTC) - DAY
    with ledger.write() as connection:
        run = {"account": "shop", "since": at - DAY, "until": at, "begun_by": "beat"}
        run |= {"began_at": at, "ended_at": at, "phase": "ended", "phase_at": at, "reached": 0}
        insert(connection, "reconciliations", id=1, **run, reached_at=at, counts='{"missing": 1}')
        difference(connection, 1, "missing", at, run_id=1)
        difference(connection, 2, "doubled", at)
    yield ledger
    ledger.engine.dispose()
    runtime.ledger.engine.dispose()


def report(*arguments: str, code: int = 0) -> str:
    done = invoke("statement", "report", *arguments)
    assert done.exit_code == code, done.output
    return done.stdout


def test_days_are_printed_as_a_table_as_csv_and_as_json(ledger_here: Ledger) -> None:
    assert "missing" in report("--by-day", "--days=3")
    assert "mismatched" not in report("--by-day", "--days=3")
    table = list(csv.DictReader(io.StringIO(report("--by-day", "--csv", "--days=3"))))
    assert [row["found"] for row in table] == ["0", "2", "0"]
    assert [row["open"] for row in table] == ["0", "2", "2"]
    shown = json.loads(report("--by-day", "--json", "--days=3"))
    assert [row["missing"] for row in shown["days"]] == [0, 1, 0]


def test_any_run_that_is_kept_can_be_reported_later(ledger_here: Ledger) -> None:
    shown = json.loads(report("--run=1", "--json"))
    assert [row["kind"] for row in shown["differences"]] == ["missing"]
    assert [(row["run"], row["differ"]) for row in shown["runs"]] == [(1, 1)]
    report("--run=2", code=1)
    report("--run=1", "--by-day", code=2)


def test_the_page_plots_every_day_by_kind_and_what_is_open(
    ledger_here: Ledger, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    report(f"--html={page}", "--days=3")
    text = page.read_text()
    assert text.count('font-size="10"') == 3
    assert re.search(r"<title>\d{4}-\d\d-\d\d: 1 missing</title>", text)
    assert re.search(r'<polyline class="open" points="13,160 39,0 65,0"/>', text)
    assert not re.search(r"<script|src=|href=|https?://", text)
