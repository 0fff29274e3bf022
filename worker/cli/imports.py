"""``refundry import``: a file of refunds, rehearsed or taken in; paused, resumed, canceled."""

import dataclasses
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress import TimeRemainingColumn as TimeLeft
from typer.core import TyperGroup

from config.settings import load_settings
from config.visible import visible
from worker.cli.output import (
    EXIT_REFUSED,
    EXIT_USAGE,
    fail,
    print_done,
    print_json,
    print_line,
    print_rows,
    print_table,
)
from worker.cli.refunds import Json
from worker.cli.setting import open_ledger
from worker.importing.files import copied
from worker.importing.results import write_results
from worker.importing.words import ImportState, RowVerdict, Terms, Unit
from worker.ledger import import_rows
from worker.ledger.engine import Ledger, create_ledger_engine
from worker.ledger.imports import Import, find_import, latest_imports
from worker.ledger.migrate import upgrade
from worker.runtime import Runtime, build_runtime, open_runtime
from worker.steps import import_commands as step
from worker.steps import import_files
from worker.steps.imports import take_next

#: Between two turns, in seconds: others write too, and on SQLite one at a time.
_BREATH_S: Final = 0.02
#: Between two looks at a canary that is under way, in seconds.
_LOOK_S: Final = 1.0


class _FileFirst(TyperGroup):
    """``refundry import FILE`` is ``refundry import run FILE``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """What is no command's name is given to ``run``."""
        if args and args[0] not in (*self.commands, "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


import_commands = typer.Typer(
    cls=_FileFirst,
    help="Files of refunds, CSV or XLSX: `refundry import FILE`, also with --rehearse.",
    no_args_is_help=True,
)


def _writable(path: Path | None) -> Path | None:
    """Known before anything is done: a result that cannot be written would be missed."""
    if path is not None and (path.is_dir() or not os.access(path.absolute().parent, os.W_OK)):
        fail(f"--result: {path} cannot be written there", EXIT_USAGE)
    return path


Result = Annotated[
    Path | None,
    typer.Option("--result", help="Write what became of each row, as CSV.", callback=_writable),
]


@import_commands.command("run")
def run(
    file: Annotated[Path, typer.Argument(help="CSV in UTF-8, or XLSX; names of fields on top.")],
    account: Annotated[str | None, typer.Option(help="Of rows that name none.")] = None,
    yuan: Annotated[bool, typer.Option("--yuan", help="Amounts are yuan, not fen.")] = False,
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Change nothing; say what would become of each row.")
    ] = False,
    budget: Annotated[
        int | None, typer.Option(min=1, help="What all rows may come to together, in fen.")
    ] = None,
    canary: Annotated[
        int, typer.Option(min=0, help="So many rows first; the rest once they have succeeded.")
    ] = 0,
    result: Result = None,
    as_json: Json = False,
) -> None:
    """Take a file of refunds in, each row once however often it is run; or rehearse that."""
    unit = Unit.YUAN if yuan else Unit.FEN
    terms = Terms(account=account, unit=unit, budget=budget, canary=canary)
    if rehearse and (budget is not None or canary):
        fail("--budget and --canary are for the run, not for --rehearse", EXIT_USAGE)
    if rehearse:
        _rehearse(file, terms, result, as_json)
        return
    runtime = build_runtime(load_settings())
    with copied(file) as copy, _progress("reading") as (bar, task):
        one = import_files.load(
            runtime, runtime.ledger, copy, terms, lambda rows: bar.advance(task, rows)
        )
    _go_on(runtime, one.id, result, as_json)


def _rehearse(file: Path, terms: Terms, result: Path | None, as_json: bool) -> None:
    """All that is written goes into a ledger that is thrown away."""
    runtime = open_runtime(load_settings())
    with tempfile.TemporaryDirectory(prefix="refundry-") as folder:
        url = f"sqlite:///{folder}/rehearsal.sqlite"
        upgrade(url)
        engine = create_ledger_engine(url)
        try:
            _rehearse_in(runtime, Ledger(engine), file, terms, result, as_json)
        finally:
            engine.dispose()


def _rehearse_in(
    runtime: Runtime, scratch: Ledger, file: Path, terms: Terms, result: Path | None, as_json: bool
) -> None:
    with copied(file) as copy, _progress("rehearsing") as (bar, task):
        one = import_files.load(runtime, scratch, copy, terms, lambda _: None)
        bar.update(task, total=one.row_count)
        import_files.rehearse(runtime, scratch, one, lambda rows: bar.advance(task, rows))
    for row in import_rows.result_rows(scratch, one.id):
        if as_json:
            print_json(dataclasses.asdict(row))
        else:
            said = f" {row.code}: {row.said}" if row.code else ""
            print_line(visible(f"row {row.row} {row.refund_no or '?'} {row.verdict}{said}"))
    with scratch.read() as connection:
        totals = import_rows.totals(connection, one.id)
    _print(f"Rehearsal of {one.name}", {"rehearsed": one.name}, totals, as_json)
    _conclude(scratch, one.id, totals, result)


@contextmanager
def _progress(
    what: str, total: int | None = None, done: int = 0
) -> Iterator[tuple[Progress, TaskID]]:
    """A bar on standard error, where that is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeLeft())
    quiet = not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True) as bar:
        yield bar, bar.add_task(what, total=total, completed=done)


def _go_on(runtime: Runtime, import_id: int, result: Path | None, as_json: bool) -> None:
    """Turn after turn, until the import stops."""
    one, totals = _seen(runtime.ledger, import_id)
    done = sum(total.rows for total in totals if total.verdict is not RowVerdict.WAITING)
    with _progress(f"import {import_id}", one.row_count, done) as (bar, task):
        while (taken := take_next(runtime, import_id)).state is ImportState.RUNNING:
            bar.advance(task, taken.rows)
            time.sleep(_LOOK_S if taken.waits else _BREATH_S)
    totals = _show(runtime.ledger, import_id, as_json)
    _conclude(runtime.ledger, import_id, totals, result)


def _seen(ledger: Ledger, import_id: int) -> tuple[Import, list[import_rows.Total]]:
    with ledger.read() as connection:
        one = find_import(connection, import_id)
        if one is None:
            fail(f"there is no import {import_id}", EXIT_REFUSED)
        return one, import_rows.totals(connection, import_id)


def _conclude(
    ledger: Ledger, import_id: int, totals: Sequence[import_rows.Total], result: Path | None
) -> None:
    """The result file, and code 1 where not every row was taken in."""
    if result is not None:
        _write_result(ledger, import_id, result)
    taken = {RowVerdict.ACCEPTED, RowVerdict.REPEATED}
    if not {total.verdict for total in totals} <= taken:
        raise SystemExit(EXIT_REFUSED)


def _write_result(ledger: Ledger, import_id: int, result: Path) -> None:
    rows = (dataclasses.astuple(row) for row in import_rows.result_rows(ledger, import_id))
    try:
        write_results(result, rows)
    except OSError as error:
        fail(f"cannot write {result}: {error.strerror}", EXIT_REFUSED)


def _show(ledger: Ledger, import_id: int, as_json: bool) -> list[import_rows.Total]:
    one, totals = _seen(ledger, import_id)
    shown = dataclasses.asdict(one)
    del shown["digest"]
    reason = f": {one.reason}" if one.reason else ""
    _print(f"Import {one.id} is {one.state}{reason}", shown, totals, as_json)
    return totals


def _print(
    title: str, shown: dict[str, Any], totals: Sequence[import_rows.Total], as_json: bool
) -> None:
    rows = [dataclasses.asdict(total) for total in totals]
    if as_json:
        print_json(shown | {"totals": rows})
        return
    columns = [field.name for field in dataclasses.fields(import_rows.Total)]
    print_table(f"{title} (amounts in fen)", columns, [list(row.values()) for row in rows])


@import_commands.command("list")
def list_imports(
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 100, as_json: Json = False
) -> None:
    """List the imports, the latest first."""
    with open_ledger().read() as connection:
        rows = [dataclasses.asdict(one) for one in latest_imports(connection, limit)]
    shown = [{key: value for key, value in row.items() if key != "digest"} for row in rows]
    if as_json:
        print_json(shown)
    else:
        print_rows("Imports (amounts in fen)", shown)


@import_commands.command("show")
def show(import_id: int, result: Result = None, as_json: Json = False) -> None:
    """Show what an import has come to, and write what became of each row by now."""
    ledger = open_ledger()
    _show(ledger, import_id, as_json)
    if result is not None:
        _write_result(ledger, import_id, result)


@import_commands.command("pause")
def pause(
    import_id: int,
    reason: Annotated[str, typer.Option(help="Why, for people.")] = "by an operator",
    as_json: Json = False,
) -> None:
    """Take no more rows in; what was taken goes its way."""
    step.pause(open_ledger(), import_id, reason)
    print_done(as_json, f"paused import {import_id}", {"paused": import_id})


@import_commands.command("resume")
def resume(
    import_id: int,
    budget: Annotated[int | None, typer.Option(min=1, help="Another cap, in fen.")] = None,
    without_canary: Annotated[
        bool, typer.Option("--without-canary", help="Go on although it has not succeeded.")
    ] = False,
    result: Result = None,
    as_json: Json = False,
) -> None:
    """Go on with an import that is paused or was interrupted; its file is not needed."""
    runtime = build_runtime(load_settings())
    step.resume(runtime.ledger, import_id, budget=budget, without_canary=without_canary)
    _go_on(runtime, import_id, result, as_json)


@import_commands.command("cancel")
def cancel(import_id: int, as_json: Json = False) -> None:
    """End an import: rows that wait are never taken in; what was taken goes its way."""
    step.cancel(open_ledger(), import_id)
    print_done(as_json, f"canceled import {import_id}", {"canceled": import_id})
