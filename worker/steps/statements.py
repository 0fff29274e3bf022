"""Import of a bill: read whole before a line is kept, kept in chunks, and finished if it was cut.

The first reading finds every fault and sums up; the second keeps the lines. Whoever imports the
file again goes on after the last line that is here.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import time as day_time
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

from sqlalchemy import Connection

from config.statements import StatementLayout
from refundry.fields import SHANGHAI
from worker.errors import Refused
from worker.ledger import statements as ledger_of
from worker.ledger.engine import Ledger
from worker.ledger.journal import storable
from worker.ledger.statements import Statement
from worker.runtime import Line, Runtime
from worker.statements.reading import MAX_LINE, StatementLine, StatementReader, UnreadableStatement

#: Lines that one transaction keeps.
CHUNK: Final = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """The time that a bill covers, where the operator says it."""

    since: datetime
    until: datetime

    @property
    def times(self) -> tuple[datetime, datetime]:
        """Its beginning and its end."""
        return self.since, self.until


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """A bill that is whole."""

    statement: Statement
    #: It was whole before; nothing was done.
    repeated: bool


@dataclass(kw_only=True, slots=True)
class _Survey:
    """What the first reading found."""

    lines: int = 0
    paid: int = 0
    first_day: date | None = None
    last_day: date | None = None
    skipped: int = 0
    digest: str = ""

    def count(self, line: StatementLine) -> None:
        self.lines += 1
        self.paid += line.amount if line.succeeded else 0
        if line.day is not None:
            self.first_day = min(self.first_day or line.day, line.day)
            self.last_day = max(self.last_day or line.day, line.day)


def import_statement(
    runtime: Runtime,
    account: str,
    path: Path,
    window: Window | None = None,
    progress: Callable[[int, int], object] = lambda done, lines: None,
) -> Imported:
    """Keep a bill's lines; a file that is here already is left as it is.

    Args:
        runtime: what the steps are given.
        account: whose bill it is.
        path: of the file.
        window: the time that it covers; None: the days of its lines.
        progress: told of how many lines are here, and how many there are.

    Raises:
        Refused: the account has no layout, or the file cannot be read; nothing was kept of it.
        ServiceAway: the ledger does not answer; import the file again.
    """
    line = runtime.line(account)
    layout = layout_of(line)
    try:
        with path.open("rb") as file:
            survey = _survey(layout, file)
            statement = _begin(runtime, account, storable(path.name), layout, survey, window)
            if statement.whole_at is not None:
                return Imported(statement=statement, repeated=True)
            file.seek(0)
            _keep(runtime, statement, layout, file, progress)
    except OSError as error:
        raise Refused("unreadable", f"{path}: {error.strerror}") from None
    except UnreadableStatement as error:
        raise Refused("unreadable", f"{path}: {error}") from None
    return Imported(statement=_finish(runtime.ledger, statement), repeated=False)


def layout_of(line: Line) -> StatementLayout:
    """How the account's bills are read.

    Raises:
        Refused: nothing says so.
    """
    layout = line.account.statement
    if layout is None:
        name = line.account.name
        raise Refused("no_layout", f"account {name} has no [accounts.{name}.statement]: write it")
    return layout


def day_window(first: date, last: date) -> Window:
    """From the beginning of a day to the end of another, by Shanghai's calendar."""
    since = datetime.combine(first, day_time(), SHANGHAI)
    until = datetime.combine(last + timedelta(days=1), day_time(), SHANGHAI)
    return Window(since=since, until=until)


def _survey(layout: StatementLayout, file: BinaryIO) -> _Survey:
    digest, reader, survey = hashlib.sha256(), StatementReader(layout), _Survey()
    for line in reader.read(_lines_of(file, digest)):
        survey.count(line)
    survey.skipped, survey.digest = reader.skipped, digest.hexdigest()
    return survey


def _lines_of(file: BinaryIO, digest: Any) -> Iterator[bytes]:
    """The file's lines, never more of one than the reader needs to refuse it."""
    while line := file.readline(MAX_LINE + 1):
        digest.update(line)
        yield line


def _begin(
    runtime: Runtime,
    account: str,
    name: str,
    layout: StatementLayout,
    survey: _Survey,
    window: Window | None,
) -> Statement:
    covers = window or _window_of(survey)
    read_by = _digest_of(layout)
    with runtime.ledger.write() as connection:
        _leave_behind(connection, account, survey.digest, read_by, covers)
        values = {
            "account": account,
            "file_name": name,
            "digest": survey.digest,
            "layout": read_by,
            "covers_from": covers.since,
            "covers_until": covers.until,
            "lines": survey.lines,
            "paid": survey.paid,
            "skipped": survey.skipped,
            "results": {},
            "begun_at": runtime.ledger.now(connection),
        }
        statement = ledger_of.begin_statement(connection, values)
    if statement.whole_at is None and statement.layout != read_by:
        raise Refused(
            "layout_changed",
            f"the import of {name} was begun by another layout: set that back and import it again, "
            "or add an empty line to the file, which makes it another one",
        )
    return statement


def _digest_of(layout: StatementLayout) -> str:
    """Of all that lines are read by."""
    read_by = layout.model_dump(exclude={"doubt_lines", "doubt_share", "complete_after_h"})
    return hashlib.sha256(repr(sorted(read_by.items())).encode()).hexdigest()


def _leave_behind(
    connection: Connection, account: str, digest: str, read_by: str, covers: Window
) -> None:
    """A bill that was stopped as likely read wrongly makes room for another reading of its file."""
    found = ledger_of.find_statement(connection, account, digest)
    if found is None or not found.stopped:
        return
    locked = ledger_of.lock_statement(connection, found.id)
    read_as = (locked.layout, locked.covers_from, locked.covers_until)
    if locked.stopped and locked.whole_at is not None and read_as != (read_by, *covers.times):
        left = {"digest": _left(locked), "whole_at": None}
        ledger_of.update_statement(connection, locked.id, left)


def _window_of(survey: _Survey) -> Window:
    if survey.first_day is None or survey.last_day is None:
        raise Refused(
            "no_days", "no line of the bill has a day: say which it covers by --since and --until"
        )
    return day_window(survey.first_day, survey.last_day)


def _keep(
    runtime: Runtime,
    statement: Statement,
    layout: StatementLayout,
    file: BinaryIO,
    progress: Callable[[int, int], object],
) -> None:
    """Keep the lines that are not here yet.

    Raises:
        Refused: the file is not the one that was read before.
    """
    with runtime.ledger.read() as connection:
        last = ledger_of.last_line(connection, statement.id)
    digest, done = hashlib.sha256(), 0
    read = StatementReader(layout).read(_lines_of(file, digest))
    while lines := list(islice(read, CHUNK)):
        new = [line for line in lines if line.number > last]
        if new:
            _keep_chunk(runtime.ledger, statement, new)
        done += len(lines)
        progress(done, statement.lines)
    if digest.hexdigest() != statement.digest:
        _give_up(runtime.ledger, statement)
        raise Refused(
            "changed", f"{statement.file_name} changed while it was read; import it again"
        )


def _keep_chunk(ledger: Ledger, statement: Statement, lines: Iterable[StatementLine]) -> None:
    with ledger.write() as connection:
        ledger_of.add_lines(connection, statement.id, lines)


def _give_up(ledger: Ledger, statement: Statement) -> None:
    """What is kept under the digest is another file's: it is left behind, never whole."""
    with ledger.write() as connection:
        ledger_of.update_statement(connection, statement.id, {"digest": _left(statement)})


def _left(statement: Statement) -> str:
    """Nobody's digest."""
    return hashlib.sha256(f"{statement.digest} {statement.id}".encode()).hexdigest()


def _finish(ledger: Ledger, statement: Statement) -> Statement:
    with ledger.write() as connection:
        values = {"whole_at": ledger.now(connection)}
        ledger_of.update_statement(connection, statement.id, values)
        return ledger_of.lock_statement(connection, statement.id)
