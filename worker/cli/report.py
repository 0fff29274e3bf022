"""``refundry statement report``: the days, the runs that are kept, and what differs."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from refundry.fields import SHANGHAI
from worker.cli.output import (
    EXIT_REFUSED,
    EXIT_USAGE,
    fail,
    print_json,
    print_line,
    print_rows,
    write_file,
)
from worker.cli.refunds import Json
from worker.cli.report_days import FOLLOWED, Row, day_rows, without_empty_kinds
from worker.cli.report_page import page
from worker.cli.report_rows import print_csv, run_row
from worker.cli.setting import open_ledger
from worker.ledger.differences import difference_rows
from worker.ledger.reconciliations import run_rows
from worker.ledger.report_days import cases_by_day, differences_by_day
from worker.steps.statements import day_window

Limit = Annotated[int, typer.Option(min=1, max=100_000)]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Report:
    days: list[Row]
    runs: list[Row]
    differences: list[Row]


def report(
    account: Annotated[str | None, typer.Option(help="Only this account's.")] = None,
    statement: Annotated[int | None, typer.Option(help="Only of this statement.")] = None,
    run: Annotated[int | None, typer.Option(help="Only what this run has found.")] = None,
    days: Annotated[int, typer.Option(min=1, max=3660, help="So many, up to today.")] = 31,
    limit: Limit = 1000,
    by_day: Annotated[bool, typer.Option("--by-day", help="A row a day; nothing else.")] = False,
    csv: Annotated[
        bool, typer.Option("--csv", help="Print what differs (or days) as CSV.")
    ] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page of its own to a file.")] = None,
    as_json: Json = False,
) -> None:
    """Report days of reconciliation beside each other, the runs, and what differs."""
    one = run is not None or statement is not None
    if by_day and one:
        fail("--by-day is of all that differs, not of one run or statement", EXIT_USAGE)
    today = datetime.now(UTC).astimezone(SHANGHAI).date()
    first = today - timedelta(days=days - 1)
    with open_ledger().snapshot() as connection:
        found = _Report(
            days=[] if one else _days(connection, account, first, today),
            runs=_runs(connection, account, run, limit),
            differences=difference_rows(
                connection,
                account,
                limit,
                statement_id=statement,
                run_id=run,
                since=None if one else day_window(first, today).since,
            ),
        )
    if html is not None:
        write_file(html, page(found.days, found.runs, found.differences))
        print_line(f"wrote {html}")
    elif csv:
        print_csv(found.days if by_day else found.differences)
    elif as_json:
        print_json(_as_json(found, by_day))
    else:
        _print(found, by_day)


def _days(connection: Connection, account: str | None, first: date, last: date) -> list[Row]:
    since = day_window(first, last).since
    found = differences_by_day(connection, account, since)
    return day_rows(found, cases_by_day(connection, account, FOLLOWED, since), first, last)


def _runs(connection: Connection, account: str | None, run: int | None, limit: int) -> list[Row]:
    rows = run_rows(connection, account, limit, run_id=run)
    if run is not None and not rows:
        fail(f"there is no run {run}", EXIT_REFUSED)
    return [run_row(row) for row in rows]


def _as_json(found: _Report, by_day: bool) -> dict[str, Any]:
    days = {"days": found.days}
    return days if by_day else days | {"runs": found.runs, "differences": found.differences}


def _print(found: _Report, by_day: bool) -> None:
    print_rows("Days (amounts in fen)", without_empty_kinds(found.days))
    if not by_day:
        print_rows("Runs", found.runs)
        print_rows("Differences (amounts in fen)", found.differences)
