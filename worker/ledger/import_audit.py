"""Queries that hold imports beside their rows, and the rows beside their refunds."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, func, or_, select

from worker.importing.words import WITH_REFUND, RowVerdict
from worker.ledger.imports import Import, import_of
from worker.ledger.tables import import_rows, imports, refunds

#: Rows that are named of one import; the rest are as many more of the same.
NAMED: Final = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class WrongRow:
    """A row whose refund is not what it says."""

    row_no: int
    refund_no: str | None
    amount: int | None
    #: Of its refund; None where there is none.
    of_refund: tuple[str, int] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """An import, and what its rows come to; the amount in fen."""

    one: Import
    rows: int
    waiting: int
    accepted: int
    accepted_amount: int
    #: How many refunds the accepted rows are.
    refunds: int
    wrong: list[WrongRow]


def tallies(connection: Connection) -> Iterator[Tally]:
    """Every import, the oldest first; each counted at one moment, for it may be at work."""
    rows = import_rows.c
    accepted, waiting = (
        rows.verdict == verdict for verdict in (RowVerdict.ACCEPTED, RowVerdict.WAITING)
    )
    query = (
        select(
            imports,
            func.count(rows.row_no).label("rows"),
            func.count(rows.row_no).filter(waiting).label("waiting"),
            func.count(rows.row_no).filter(accepted).label("accepted"),
            func.coalesce(func.sum(rows.amount).filter(accepted), 0).label("accepted_amount"),
            func.count(rows.refund_id.distinct()).filter(accepted).label("refunds"),
        )
        .outerjoin(import_rows, rows.import_id == imports.c.id)
        .group_by(*imports.columns)
        .order_by(imports.c.id)
    )
    for row in connection.execute(query).all():
        yield Tally(
            one=import_of(row),
            rows=row.rows,
            waiting=row.waiting,
            accepted=row.accepted,
            accepted_amount=int(row.accepted_amount),
            refunds=row.refunds,
            wrong=_wrong_rows(connection, row.id),
        )


def _differs() -> ColumnElement[bool]:
    pairs = (
        (refunds.c.refund_no, import_rows.c.refund_no),
        (refunds.c.merchant, import_rows.c.merchant),
        (refunds.c.amount, import_rows.c.amount),
    )
    return or_(refunds.c.id.is_(None), *(ours.is_distinct_from(rows) for ours, rows in pairs))


def _wrong_rows(connection: Connection, import_id: int) -> list[WrongRow]:
    query = (
        select(
            import_rows.c.row_no,
            import_rows.c.refund_no,
            import_rows.c.amount,
            refunds.c.refund_no.label("its_no"),
            refunds.c.amount.label("its_amount"),
        )
        .outerjoin(refunds, refunds.c.id == import_rows.c.refund_id)
        .where(
            import_rows.c.import_id == import_id,
            import_rows.c.verdict.in_(sorted(WITH_REFUND)),
            _differs(),
        )
        .order_by(import_rows.c.row_no)
        .limit(NAMED)
    )
    return [_wrong_row(row) for row in connection.execute(query)]


def _wrong_row(row: Any) -> WrongRow:
    return WrongRow(
        row_no=row.row_no,
        refund_no=row.refund_no,
        amount=row.amount,
        of_refund=None if row.its_no is None else (row.its_no, row.its_amount),
    )
