"""``refundry statement``: providers' bills, and what differs from them."""

from collections import Counter
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from config.settings import load_settings
from refundry.fields import SHANGHAI
from worker.cli.cases import By, who_acts
from worker.cli.output import (
    EXIT_REFUSED,
    EXIT_USAGE,
    fail,
    print_done,
    print_json,
    print_line,
    print_rows,
)
from worker.cli.refunds import AccountName, Json
from worker.cli.report import Limit, report
from worker.cli.setting import open_ledger
from worker.ledger.statements import Statement, statement_rows
from worker.refund import Case
from worker.runtime import Runtime, build_runtime
from worker.steps.doubts import accept, reloaded
from worker.steps.reconcile import compare_statements
from worker.steps.statements import Window, day_window, import_statement

statement_commands = typer.Typer(
    help="Providers' bills: import one, list them, report what differs.", no_args_is_help=True
)
#: Lines between two lines of progress.
PROGRESS: Final = 100_000
#: Chunks of lines that are compared between two lines of progress.
CHUNKS: Final = 200


@statement_commands.command("import")
def import_file(
    file: Path,
    account: AccountName,
    since: Annotated[
        str | None, typer.Option(help="What it covers begins: a day, or a time.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="And ends: a day, its end included.")] = None,
    as_json: Json = False,
) -> None:
    """Import a bill and compare its lines; a file that was imported is left as it is."""
    runtime = build_runtime(load_settings())
    window = _window(since, until)
    imported = import_statement(runtime, account, file, window, _progress(as_json))
    counts = _compare(runtime, account)
    said = "was imported before as" if imported.repeated else "is"
    one = imported.statement
    _conclude(
        runtime,
        one,
        counts,
        f"{file.name} {said} statement {one.id}: {one.lines} refunds of {one.paid} fen paid, "
        f"{one.skipped} other lines; ",
        {"repeated": imported.repeated},
        as_json,
    )


def _compare(runtime: Runtime, account: str) -> Counter[str]:
    """Compare all that is to be compared of an account's bills."""
    line, counts = runtime.line(account), Counter[str]()
    finished = False
    while not finished:
        compared, finished = compare_statements(runtime, line, CHUNKS)
        counts.update(compared)
    return +counts


def _conclude(
    runtime: Runtime,
    one: Statement,
    counts: Counter[str],
    said: str,
    more: dict[str, object],
    as_json: bool,
) -> None:
    """What was found; code 1 where the bill waits for a person."""
    now, _ = reloaded(runtime, one)
    doubt = now.doubt if now.stopped else None
    done: dict[str, object] = {"id": one.id, "lines": one.lines, "paid": one.paid} | more
    done |= {"skipped": one.skipped, "results": dict(counts), "doubt": doubt}
    results = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
    print_done(as_json, f"{said}{results or 'nothing new'}", done)
    if doubt is not None:
        layout = f"[accounts.{one.account}.statement]"
        fail(
            f"statement {one.id} is stopped, and no case opened of its lines. {doubt}. "
            f"Mend {layout} and import the file again; or, if it is right: "
            f"refundry statement accept {one.id}",
            EXIT_REFUSED,
        )


@statement_commands.command("accept")
def accept_statement(
    statement_id: int,
    reason: Annotated[str, typer.Option(help="Why it is right as it was read.")],
    by: By = None,
    as_json: Json = False,
) -> None:
    """Have a bill compared that was stopped as likely read wrongly; its case is closed."""
    runtime = build_runtime(load_settings())
    one = accept(runtime, statement_id, who_acts(by, reason))
    counts = _compare(runtime, one.account)
    _conclude(runtime, one, counts, f"accepted statement {one.id}: ", {}, as_json)


def _progress(as_json: bool) -> Callable[[int, int], None]:
    def told(done: int, lines: int) -> None:
        if not as_json and done % PROGRESS == 0:
            print_line(f"{done} of {lines} lines")

    return told


def _window(since: str | None, until: str | None) -> Window | None:
    if since is None and until is None:
        return None
    if since is None or until is None:
        fail("--since and --until go together", EXIT_USAGE)
    window = Window(since=_moment(since, ends=False), until=_moment(until, ends=True))
    if window.since >= window.until:
        fail("--until must be after --since", EXIT_USAGE)
    return window


def _moment(text: str, *, ends: bool) -> datetime:
    """A time; of a day its beginning, or its end. Without an offset it is Shanghai's."""
    try:
        if len(text) == len("2026-01-31"):
            window = day_window(date.fromisoformat(text), date.fromisoformat(text))
            return window.until if ends else window.since
        moment = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{text!r} is no day and no time: write 2026-01-31 or 2026-01-31T12:00", EXIT_USAGE)
    return moment if moment.tzinfo else moment.replace(tzinfo=SHANGHAI)


@statement_commands.command("list")
def list_statements(
    account: Annotated[str | None, typer.Option(help="Only this account's.")] = None,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List the bills, the latest first: what became of their lines; not whole is begun only."""
    with open_ledger().read() as connection:
        rows = statement_rows(connection, account, limit)
    if as_json:
        print_json(rows)
        return
    print_rows("Statements (amounts in fen)", [_shown(row) for row in rows])


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    results: dict[str, int] = row["results"]
    kinds = {kind.value for kind in Case}
    names = ("id", "account", "file_name", "covers_from", "covers_until", "lines", "paid")
    return {name: row[name] for name in names} | {
        "whole": row["whole_at"] is not None,
        "complete": row["completed_at"] is not None,
        "agreed": results.get("agreed", 0),
        "differ": sum(number for name, number in results.items() if name in kinds),
        "wait": results.get("waiting", 0),
        "stopped": row["doubt"] is not None and row["accepted_at"] is None,
    }


statement_commands.command("report")(report)
