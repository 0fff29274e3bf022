"""Writes a file's rows down, before the first of them is asked for; and rehearses what they do.

What is wrong with the file ends it here. What is wrong with a row is the row's verdict.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Any, Final, TypeVar

from worker.errors import Refused, WrongFile
from worker.importing.columns import header_of, job_of
from worker.importing.files import Cell, Copy, Wrong, rows_of
from worker.importing.words import ImportState, RowVerdict, Terms
from worker.ledger import import_rows
from worker.ledger.engine import Ledger
from worker.ledger.import_rows import ImportRow, Said
from worker.ledger.imports import Import, begin_import, import_of_file, update_import
from worker.ledger.journal import short_reason, storable
from worker.runtime import Runtime
from worker.steps.foresee import foresee
from worker.steps.imports import locked_import, refused_row
from worker.steps.intake import read_job
from worker.steps.intake_lot import Accepted, Desk, Placed

#: Rows that are written down, or rehearsed, at once.
LOT: Final = 500
#: Of a name that could not be read, in characters.
_MAX_NAMED: Final = 64

#: Is told how many rows more are done.
Told = Callable[[int], None]
Item = TypeVar("Item")


def load(runtime: Runtime, ledger: Ledger, copy: Copy, terms: Terms, told: Told) -> Import:
    """Write a file's rows down, or find them written; nothing is asked for yet.

    Args:
        runtime: the accounts that rows are held against.
        ledger: where they are written down.
        copy: the file.
        terms: as the import is to be.
        told: of the rows that were read.

    Raises:
        WrongFile: it is no file of refunds.
        Refused: it was imported on other terms.
    """
    rows = rows_of(copy)
    _, header = next(rows, (0, None))
    if header is None:
        raise WrongFile(f"{copy.name} is empty")
    names = header_of(header, terms)
    with ledger.write() as connection:
        begin_import(connection, copy.digest, storable(copy.name), terms, ledger.now(connection))
        one = import_of_file(connection, copy.digest)
    _must_agree(one, terms)
    if one.state is ImportState.LOADING:
        _load(runtime, ledger, one, names, rows, told)
    with ledger.read() as connection:
        return import_of_file(connection, copy.digest)


def _must_agree(one: Import, terms: Terms) -> None:
    """What an operator has changed since, by `resume`, he need not say again."""
    fixed = (one.account, one.unit, one.canary)
    if fixed != (terms.account, terms.unit, terms.canary) or (
        terms.budget not in (None, one.budget)
    ):
        raise Refused(
            "other_terms",
            f"this file is import {one.id}, with account {one.account}, amounts in {one.unit}, "
            f"budget {one.budget} and a canary of {one.canary} rows: say the same again, or change "
            f"it by `refundry import resume {one.id}`",
        )


def _load(
    runtime: Runtime,
    ledger: Ledger,
    one: Import,
    names: Sequence[str],
    rows: Iterator[tuple[int, Sequence[Cell]]],
    told: Told,
) -> None:
    with ledger.read() as connection:
        last = import_rows.last_row(connection, one.id)
    try:
        for lot in lots(rows):
            new = [row for row in lot if row[0] > last]
            read = [_read_row(runtime, one, names, *row) for row in new]
            if read and not _added(ledger, one, read):
                return
            told(len(lot))
        _finish(ledger, one)
    except WrongFile as error:
        _give_up(ledger, one, str(error))
        raise


def lots(items: Iterable[Item]) -> Iterator[list[Item]]:
    """The items in their order, some hundreds at a time."""
    rest = iter(items)
    while lot := list(islice(rest, LOT)):
        yield lot


def _read_row(
    runtime: Runtime, one: Import, names: Sequence[str], row_no: int, cells: Sequence[Cell]
) -> dict[str, Any]:
    row = dict.fromkeys(("job", "merchant", "amount"))
    row |= {"import_id": one.id, "row_no": row_no, "verdict": RowVerdict.WAITING}
    row |= {"code": "", "said": ""} | _named(dict(zip(names, cells, strict=False)), one.terms)
    try:
        job = job_of(names, cells, one.terms)
        read = read_job(runtime, job)
    except Refused as refusal:
        refused = {"code": refusal.code, "said": short_reason(str(refusal))}
        return row | {"verdict": RowVerdict.REFUSED} | refused
    merchant = read.line.provider.merchant
    return row | {"job": read.request.job(), "merchant": merchant, "amount": read.request.amount}


def _named(cells: dict[str, Cell], terms: Terms) -> dict[str, Any]:
    """How a row is called, for people; one that is wrong too."""
    given = {"account": cells.get("account") or terms.account}
    given |= {name: cells.get(name) for name in ("order_no", "refund_no")}
    return {
        name: None if cell is None or isinstance(cell, Wrong) else storable(str(cell))[:_MAX_NAMED]
        for name, cell in given.items()
    }


def _added(ledger: Ledger, one: Import, rows: Sequence[dict[str, Any]]) -> bool:
    """Write rows down; False if the import is loading no more."""
    with ledger.write() as connection:
        if locked_import(connection, one.id).state is not ImportState.LOADING:
            return False
        import_rows.add_rows(connection, rows)
    return True


def _finish(ledger: Ledger, one: Import) -> None:
    """All rows are there: from now on they may be asked for."""
    with ledger.write() as connection:
        if locked_import(connection, one.id).state is not ImportState.LOADING:
            return
        count, now = import_rows.count_rows(connection, one.id), ledger.now(connection)
        if not count:
            raise WrongFile(f"{one.name} has no rows below its header")
        import_rows.refuse_doubled(connection, one.id, now)
        running = {"state": ImportState.RUNNING, "row_count": count, "state_at": now}
        update_import(connection, one.id, **running)


def _give_up(ledger: Ledger, one: Import, reason: str) -> None:
    """The same bytes will be wrong again."""
    with ledger.write() as connection:
        if locked_import(connection, one.id).state is ImportState.LOADING:
            now = ledger.now(connection)
            import_rows.cancel_waiting(connection, one.id, now)
            given_up = {"state": ImportState.CANCELED, "reason": reason, "state_at": now}
            update_import(connection, one.id, **given_up)


def rehearse(runtime: Runtime, scratch: Ledger, one: Import, told: Told) -> None:
    """Write into a scratch ledger what intake would say of its rows now; changes nothing else.

    Rows of one order come together, so that only one order has to be remembered.
    """
    with scratch.read() as reading:
        waiting = import_rows.waiting_by_order(reading, one.id)
        for merchant, rows in groupby(waiting, key=lambda pair: pair[0]):
            before: Desk | None = None
            for lot in lots(row for _, row in rows):
                said, before = _rehearsed(runtime, merchant, lot, before)
                with scratch.write() as writing:
                    import_rows.write_verdicts(writing, one.id, said, scratch.now(writing))
                told(len(lot))


def _rehearsed(
    runtime: Runtime, merchant: str, rows: Sequence[ImportRow], before: Desk | None
) -> tuple[list[Said], Desk]:
    jobs = [read_job(runtime, row.job) for row in rows]
    with runtime.ledger.read() as connection:
        results, desk = foresee(connection, runtime.ledger, merchant, jobs, before)
    return [_said(row, result) for row, result in zip(rows, results, strict=True)], desk


def _said(row: ImportRow, result: Placed | Accepted | Refused) -> Said:
    if isinstance(result, Refused):
        return refused_row(row.row_no, result)
    repeated = isinstance(result, Accepted)
    verdict = RowVerdict.REPEATED if repeated else RowVerdict.ACCEPTED
    return Said(row_no=row.row_no, verdict=verdict)
