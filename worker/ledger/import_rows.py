"""Queries on the rows of imports."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    func,
    literal,
    select,
    text,
    update,
)

from refundry import State
from worker.importing.words import RowVerdict
from worker.ledger.engine import Ledger
from worker.ledger.tables import cases, import_rows, refunds
from worker.ledger.types import insert_into

#: Rows fetched at once, so that a result of a million rows needs little memory.
CHUNK: Final = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportRow:
    """A row that waits for its verdict."""

    row_no: int
    job: dict[str, Any]
    amount: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """What intake has said of a row."""

    row_no: int
    verdict: RowVerdict
    refund_id: int | None = None
    code: str = ""
    said: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Canary:
    """One of the rows that go first, and what has become of its refund."""

    row_no: int
    verdict: RowVerdict
    state: State | None
    #: Whether a person has still to look at it.
    in_case: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Total:
    """What the rows of an account came to, by their verdict; the amount in fen."""

    account: str | None
    verdict: RowVerdict
    rows: int
    amount: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultRow:
    """What became of a row: its verdict, and the state of its refund now."""

    row: int
    refund_no: str | None
    verdict: RowVerdict
    state: State | None
    code: str
    said: str


def last_row(connection: Connection, import_id: int) -> int:
    """The number of the last row that was written down; 0 if there is none."""
    found = select(func.max(import_rows.c.row_no)).where(import_rows.c.import_id == import_id)
    return connection.execute(found).scalar() or 0


def add_rows(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows down; those that are there stay as they are."""
    adding = insert_into(connection, import_rows).on_conflict_do_nothing()
    connection.execute(adding, list(rows))


def refuse_doubled(connection: Connection, import_id: int, now: datetime) -> None:
    """A number that stands in a file twice is meant once: the later rows are refused.

    The doubled are found together; asked for each row, its first one is a search through the file.
    """
    keys = (import_rows.c.merchant, import_rows.c.refund_no)
    doubled = (
        select(*keys, func.min(import_rows.c.row_no).label("first"))
        .where(import_rows.c.import_id == import_id, import_rows.c.merchant.is_not(None))
        .group_by(*keys)
        .having(func.count() > 1)
        .subquery()
    )
    said = literal("refund_no stands in row ") + cast(doubled.c.first, Text) + literal(" already")
    connection.execute(
        update(import_rows)
        .where(
            _waiting(import_id),
            import_rows.c.merchant == doubled.c.merchant,
            import_rows.c.refund_no == doubled.c.refund_no,
            import_rows.c.row_no > doubled.c.first,
        )
        .values(verdict=RowVerdict.REFUSED, code="doubled", said=said, at=now)
    )


def _waiting(import_id: int) -> ColumnElement[bool]:
    return and_(import_rows.c.import_id == import_id, text("import_rows.verdict = 'waiting'"))


def count_rows(connection: Connection, import_id: int) -> int:
    """How many rows were written down."""
    found = select(func.count()).where(import_rows.c.import_id == import_id)
    return int(connection.execute(found).scalar_one())


def _row_of(row: Any) -> ImportRow:
    return ImportRow(row_no=row.row_no, job=row.job, amount=row.amount)


def waiting_rows(connection: Connection, import_id: int, limit: int) -> list[ImportRow]:
    """The rows whose turn is next."""
    found = select(import_rows).where(_waiting(import_id)).order_by(import_rows.c.row_no)
    return [_row_of(row) for row in connection.execute(found.limit(limit))]


def waiting_by_order(connection: Connection, import_id: int) -> Iterator[tuple[str, ImportRow]]:
    """Merchant and row of all that wait, those of one order together; a few at a time."""
    found = (
        select(import_rows)
        .where(_waiting(import_id))
        .order_by(import_rows.c.merchant, import_rows.c.order_no, import_rows.c.row_no)
        .execution_options(yield_per=CHUNK)
    )
    for row in connection.execute(found):
        yield row.merchant, _row_of(row)


_VERDICT: Final = (
    update(import_rows)
    .where(
        import_rows.c.import_id == bindparam("of_import"), import_rows.c.row_no == bindparam("of")
    )
    .values(
        {name: bindparam(f"new_{name}") for name in ("verdict", "code", "said", "refund_id", "at")}
    )
)


def write_verdicts(
    connection: Connection, import_id: int, said: Sequence[Said], now: datetime
) -> None:
    """Write the verdicts of rows that waited."""
    rows = [
        {
            "of_import": import_id,
            "of": one.row_no,
            "new_verdict": one.verdict,
            "new_code": one.code,
            "new_said": one.said,
            "new_refund_id": one.refund_id,
            "new_at": now,
        }
        for one in said
    ]
    connection.execute(_VERDICT, rows)


def cancel_waiting(connection: Connection, import_id: int, now: datetime) -> None:
    """The rows that wait will not be asked for."""
    connection.execute(
        update(import_rows).where(_waiting(import_id)).values(verdict=RowVerdict.CANCELED, at=now)
    )


def canaries(connection: Connection, import_id: int, count: int) -> list[Canary]:
    """The first rows of the file."""
    in_case = select(cases.c.id).where(
        cases.c.refund_id == import_rows.c.refund_id, text("cases.closed_at IS NULL")
    )
    found = (
        select(
            import_rows.c.row_no,
            import_rows.c.verdict,
            refunds.c.state,
            in_case.exists().label("in_case"),
        )
        .outerjoin(refunds, refunds.c.id == import_rows.c.refund_id)
        .where(import_rows.c.import_id == import_id)
        .order_by(import_rows.c.row_no)
        .limit(count)
    )
    return [
        Canary(
            row_no=row.row_no,
            verdict=RowVerdict(row.verdict),
            state=State(row.state) if row.state else None,
            in_case=bool(row.in_case),
        )
        for row in connection.execute(found)
    ]


def totals(connection: Connection, import_id: int) -> list[Total]:
    """What the rows came to, by account and verdict."""
    keys = (import_rows.c.account, import_rows.c.verdict)
    rows = connection.execute(
        select(*keys, func.count().label("rows"), func.sum(import_rows.c.amount).label("amount"))
        .where(import_rows.c.import_id == import_id)
        .group_by(*keys)
        .order_by(*keys)
    )
    return [
        Total(
            account=row.account,
            verdict=RowVerdict(row.verdict),
            rows=row.rows,
            amount=int(row.amount or 0),
        )
        for row in rows
    ]


def result_rows(ledger: Ledger, import_id: int) -> Iterator[ResultRow]:
    """What became of every row, in the order of the file; no transaction is open in between."""
    last = 0
    while rows := _results_after(ledger, import_id, last):
        yield from rows
        last = rows[-1].row


def _results_after(ledger: Ledger, import_id: int, last: int) -> list[ResultRow]:
    query: Select[Any] = (
        select(import_rows, refunds.c.state)
        .outerjoin(refunds, refunds.c.id == import_rows.c.refund_id)
        .where(import_rows.c.import_id == import_id, import_rows.c.row_no > last)
        .order_by(import_rows.c.row_no)
        .limit(CHUNK)
    )
    with ledger.read() as connection:
        return [
            ResultRow(
                row=row.row_no,
                refund_no=row.refund_no,
                verdict=RowVerdict(row.verdict),
                state=State(row.state) if row.state else None,
                code=row.code,
                said=row.said,
            )
            for row in connection.execute(query)
        ]
