"""What succeeded by the ledger, and stands in no bill that should have it."""

from datetime import datetime
from typing import Final

from worker.ledger.differences import keep_differences
from worker.ledger.statements import (
    Statement,
    Unlisted,
    count_unlisted,
    still_unlisted,
    unlisted,
    update_statement,
)
from worker.refund import Case
from worker.runtime import Line, Runtime
from worker.statements.doubting import Sign, doubt
from worker.steps.differ import Counts, missing
from worker.steps.doubts import limits_of, reloaded, stop

#: Refunds that one transaction opens cases of.
CHUNK: Final = 2000


def look_for_unlisted(
    runtime: Runtime, line: Line, statement: Statement, counts: Counts, run_id: int | None
) -> None:
    """Open a case for what succeeded in a bill's time and is in no bill, once it must be there.

    Where that is so of many, the bill is stopped instead: it covers other days than it says.

    Raises:
        ServiceAway: the ledger does not answer.
    """
    layout = line.account.statement
    statement, now = reloaded(runtime, statement)
    complete = layout is not None and now >= statement.covers_until + layout.complete_after
    if statement.completed_at is not None or not complete or statement.stopped:
        return
    if _is_doubtful(runtime, line, statement, counts):
        return
    after = (statement.covers_from, 0)
    while found := _next_unlisted(runtime, statement, after):
        after = (found[-1].state_at, found[-1].id)
        _keep(runtime, line, statement, found, counts, run_id)
    with runtime.ledger.write() as connection:
        completed = {"completed_at": runtime.ledger.now(connection)}
        update_statement(connection, statement.id, completed)


def _is_doubtful(runtime: Runtime, line: Line, statement: Statement, counts: Counts) -> bool:
    if statement.accepted_at is not None:
        return False
    with runtime.ledger.read() as connection:
        count, of = count_unlisted(connection, statement)
    found = doubt({Sign.MISSING: count}, of, limits_of(line))
    if found is not None:
        stop(runtime, statement, found, counts)
    return found is not None


def _next_unlisted(
    runtime: Runtime, statement: Statement, after: tuple[datetime, int]
) -> list[Unlisted]:
    """Looked for while nothing is locked: a day may have a million that are listed."""
    with runtime.ledger.read() as connection:
        return unlisted(connection, statement, after, CHUNK)


def _keep(
    runtime: Runtime,
    line: Line,
    statement: Statement,
    found: list[Unlisted],
    counts: Counts,
    run_id: int | None,
) -> None:
    with runtime.ledger.write() as connection:
        still = still_unlisted(connection, [one.id for one in found])
        missed = [missing(line, statement, one, run_id) for one in found if one.id in still]
        now = runtime.ledger.now(connection)
        counts["cases"] += keep_differences(connection, missed, now)
    counts[Case.MISSING] += len(missed)
