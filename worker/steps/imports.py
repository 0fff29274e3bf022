"""Import: takes a file's rows into the ledger, each once and with its verdict.

A row and its verdict are one transaction, by the same intake as every job; so an import that was
killed anywhere goes on where it was. Runs of one import take turns by its row's lock, which is
taken before any order's. No message is sent: the sweep wakes the orders, a few hundred a second,
and whoever asks for a single refund meanwhile does not wait behind a file.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from refundry import State
from worker.errors import Refused, RowsLocked
from worker.importing.words import ImportState, RowVerdict
from worker.ledger.import_rows import (
    Canary,
    ImportRow,
    Said,
    canaries,
    waiting_rows,
    write_verdicts,
)
from worker.ledger.imports import Import, find_import, update_import
from worker.ledger.journal import record_refused_job, short_reason
from worker.lots import UNDONE
from worker.runtime import Runtime
from worker.steps.foresee import foresee
from worker.steps.intake import look_again, read_job
from worker.steps.intake_lot import Accepted, Job, Placed, take_within

#: Rows of one transaction; their orders are locked while it lasts.
LOT: Final = 100
#: Stands in the records of what was refused where a job has its task.
_BY_IMPORT: Final = "refundry import"


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """What one turn has done, and where the import stands after it."""

    state: ImportState
    reason: str = ""
    #: Rows that have their verdict since then.
    rows: int = 0
    #: The canary is under way: come back later.
    waits: bool = False


def take_next(runtime: Runtime, import_id: int, limit: int = LOT) -> Taken:
    """Take the next rows in; to be called until the state is another than ``running``.

    Rows whose order somebody has locked are left for the next turn; where nothing else is left, the
    first row waits for its order, alone: who waits for several may be waited for.

    Raises:
        Refused: there is no such import.
        ServiceAway: the ledger does not answer; nothing is lost, call again.
    """
    with suppress(RowsLocked):
        taken = _turn(runtime, import_id, limit, patient=False)
        if taken.rows or taken.waits or taken.state is not ImportState.RUNNING:
            return taken
    return _turn(runtime, import_id, 1, patient=True)


def _turn(runtime: Runtime, import_id: int, limit: int, *, patient: bool) -> Taken:
    def take() -> Taken:
        with runtime.ledger.write() as connection:
            return _take(runtime, connection, import_id, limit, patient)

    return look_again(take)


def _take(
    runtime: Runtime, connection: Connection, import_id: int, limit: int, patient: bool
) -> Taken:
    one = locked_import(connection, import_id)
    if one.state is not ImportState.RUNNING:
        return Taken(state=one.state, reason=one.reason)
    if not one.canary_passed:
        first = canaries(connection, import_id, one.canary)
        if wrong := [canary for canary in first if _is_wrong(canary)]:
            return _stop(runtime, connection, one, ImportState.PAUSED, _why(wrong[0]))
        limit = min(limit, sum(canary.verdict is RowVerdict.WAITING for canary in first))
        if not limit:
            return _after_canary(connection, one, first)
    rows = waiting_rows(connection, import_id, limit)
    if not rows:
        return _stop(runtime, connection, one, ImportState.DONE, "")
    within = _within_budget(runtime, connection, one, rows)
    if not within:
        return _stop(runtime, connection, one, ImportState.PAUSED, _over(one, rows[0]))
    said = _ask(runtime, connection, within, patient)
    _write(runtime, connection, one, within, said)
    return Taken(state=one.state, rows=len(said))


def locked_import(connection: Connection, import_id: int) -> Import:
    """The import, locked until the transaction ends.

    Raises:
        Refused: there is none.
    """
    one = find_import(connection, import_id, lock=True)
    if one is None:
        raise Refused("not_found", f"there is no import {import_id}")
    return one


def _is_wrong(canary: Canary) -> bool:
    """It will not succeed by itself."""
    if canary.verdict in (RowVerdict.REFUSED, RowVerdict.CANCELED) or canary.in_case:
        return True
    return canary.state in (State.FAILED, State.CANCELED, State.REVERSED)


def _why(canary: Canary) -> str:
    became = canary.verdict if canary.state is None else canary.state
    case = ", with an open case" if canary.in_case else ""
    return f"row {canary.row_no} of the canary is {became}{case}"


def _after_canary(connection: Connection, one: Import, first: Sequence[Canary]) -> Taken:
    passed = all(canary.state is State.SUCCEEDED for canary in first)
    if passed:
        update_import(connection, one.id, canary_passed=True)
    return Taken(state=one.state, waits=not passed)


def _within_budget(
    runtime: Runtime, connection: Connection, one: Import, rows: Sequence[ImportRow]
) -> Sequence[ImportRow]:
    """Those of the next rows that fit, none passed over.

    What intake would not accept costs nothing; should it be accepted after all, the ledger's check
    undoes the turn.
    """
    if one.budget is None or sum(row.amount for row in rows) <= one.budget - one.spent:
        return rows
    left, cost = one.budget - one.spent, _costs(runtime, connection, rows)
    for place, row in enumerate(rows):
        left -= cost.get(row.row_no, 0)
        if left < 0:
            return rows[:place]
    return rows


def _costs(runtime: Runtime, connection: Connection, rows: Sequence[ImportRow]) -> dict[int, int]:
    """What each row that would be accepted now costs, by its number, in fen."""
    jobs, _ = _read(runtime, rows)
    cost: dict[int, int] = {}
    for merchant, of_it in jobs.items():
        foreseen, _ = foresee(connection, runtime.ledger, merchant, list(of_it.values()))
        placed = zip(of_it.items(), foreseen, strict=True)
        cost |= {no: job.request.amount for (no, job), one in placed if isinstance(one, Placed)}
    return cost


def _over(one: Import, row: ImportRow) -> str:
    return f"row {row.row_no} asks for {row.amount} fen; {one.spent} of the {one.budget} are spent"


def _stop(
    runtime: Runtime, connection: Connection, one: Import, state: ImportState, reason: str
) -> Taken:
    now = runtime.ledger.now(connection)
    update_import(connection, one.id, state=state, reason=reason, state_at=now)
    return Taken(state=state, reason=reason)


def _write(
    runtime: Runtime,
    connection: Connection,
    one: Import,
    rows: Sequence[ImportRow],
    said: Sequence[Said],
) -> None:
    if not said:
        return
    now, by_number = runtime.ledger.now(connection), {row.row_no: row for row in rows}
    for answer in said:
        if answer.verdict is RowVerdict.REFUSED:
            job = by_number[answer.row_no].job
            record_refused_job(connection, _BY_IMPORT, job, answer.code, answer.said, now)
    write_verdicts(connection, one.id, said, now)
    accepted = (answer for answer in said if answer.verdict is RowVerdict.ACCEPTED)
    spent = one.spent + sum(by_number[answer.row_no].amount for answer in accepted)
    update_import(connection, one.id, spent=spent)


def _ask(
    runtime: Runtime, connection: Connection, rows: Iterable[ImportRow], patient: bool
) -> list[Said]:
    """What intake says of each; of those whose order is locked nothing, unless it is patient."""
    jobs, said = _read(runtime, rows)
    for merchant, of_it in jobs.items():
        own = list(of_it.values())
        results = take_within(connection, runtime.ledger, merchant, own, patient)
        for row_no, result in zip(of_it, results, strict=True):
            if result is not UNDONE:
                said.append(_said(row_no, result))
    return said


def _read(
    runtime: Runtime, rows: Iterable[ImportRow]
) -> tuple[dict[str, dict[int, Job]], list[Said]]:
    """The jobs of each merchant by their rows; and what is refused as it stands.

    The account may have changed since the file was read. Merchants come in an order of their own,
    so that no two runs wait for each other's orders.
    """
    said: list[Said] = []
    jobs: dict[str, dict[int, Job]] = defaultdict(dict)
    for row in rows:
        try:
            job = read_job(runtime, row.job)
        except Refused as refusal:
            said.append(refused_row(row.row_no, refusal))
        else:
            jobs[job.line.provider.merchant][row.row_no] = job
    return dict(sorted(jobs.items())), said


def _said(row_no: int, result: Accepted | Refused) -> Said:
    if isinstance(result, Refused):
        return refused_row(row_no, result)
    verdict = RowVerdict.REPEATED if result.repeated else RowVerdict.ACCEPTED
    return Said(row_no=row_no, verdict=verdict, refund_id=result.refund_id)


def refused_row(row_no: int, refusal: Refused) -> Said:
    """A refusal as it is kept with its row."""
    reason = short_reason(str(refusal))
    return Said(row_no=row_no, verdict=RowVerdict.REFUSED, code=refusal.code, said=reason)
