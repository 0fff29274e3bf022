"""Queries on bills: begun, filled line by line, whole; and what of ours they should have."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, exists, func, literal, or_, select, text, tuple_, update

from worker.ledger.statement_tables import UNDONE, statement_lines, statements
from worker.ledger.tables import SETTLED, refunds
from worker.ledger.types import UtcTime, insert_into, is_one_of
from worker.statements.judging import Result
from worker.statements.reading import StatementLine


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """A ``statements`` row."""

    id: int
    account: str
    file_name: str
    digest: str
    layout: str
    covers_from: datetime
    covers_until: datetime
    lines: int
    paid: int
    skipped: int
    begun_at: datetime
    whole_at: datetime | None
    completed_at: datetime | None
    #: How many of its lines have which result, and differ in which way.
    results: dict[str, int]
    signs: dict[str, int]
    #: Why it is likely that it is read wrongly.
    doubt: str | None
    #: A person has it compared all the same.
    accepted_at: datetime | None

    @property
    def stopped(self) -> bool:
        """It waits for a person."""
        return self.doubt is not None and self.accepted_at is None


def _statement_of(row: Any) -> Statement:
    return Statement(**{field.name: row._mapping[field.name] for field in fields(Statement)})


def begin_statement(connection: Connection, values: dict[str, Any]) -> Statement:
    """The account's bill of that digest: a new one, or the one that is there."""
    connection.execute(
        insert_into(connection, statements)
        .values(**values)
        .on_conflict_do_nothing(index_elements=["account", "digest"])
    )
    found = find_statement(connection, values["account"], values["digest"])
    assert found is not None
    return found


def find_statement(connection: Connection, account: str, digest: str) -> Statement | None:
    """The account's bill of that digest."""
    row = connection.execute(
        select(statements).where(statements.c.account == account, statements.c.digest == digest)
    ).first()
    return _statement_of(row) if row else None


def get_statement(connection: Connection, statement_id: int) -> Statement | None:
    """A bill."""
    row = connection.execute(select(statements).where(statements.c.id == statement_id)).first()
    return _statement_of(row) if row else None


def lock_statement(connection: Connection, statement_id: int) -> Statement:
    """A bill, locked: only one process at a time compares its lines."""
    row = connection.execute(
        select(statements).where(statements.c.id == statement_id).with_for_update()
    )
    return _statement_of(row.one())


def last_line(connection: Connection, statement_id: int) -> int:
    """Number of the last line that is here."""
    number = select(func.max(statement_lines.c.number))
    found = connection.execute(number.where(statement_lines.c.statement_id == statement_id))
    return found.scalar_one() or 0


def add_lines(connection: Connection, statement_id: int, lines: Iterable[StatementLine]) -> None:
    """Add lines of a bill; those that are there already stay as they are."""
    rows = [
        {
            "statement_id": statement_id,
            "number": line.number,
            "refund_no": line.refund_no,
            "provider_refund_no": line.provider_refund_no,
            "order_no": line.order_no,
            "amount": line.amount,
            "day": line.day,
            "succeeded": line.succeeded,
            "result": Result.NEW,
        }
        for line in lines
    ]
    if rows:
        connection.execute(insert_into(connection, statement_lines).on_conflict_do_nothing(), rows)


def update_statement(connection: Connection, statement_id: int, values: dict[str, Any]) -> None:
    """Write columns of a bill."""
    connection.execute(update(statements).where(statements.c.id == statement_id).values(**values))


def statements_to_do(connection: Connection, account: str) -> list[Statement]:
    """The account's whole bills that have lines to compare, or whose completeness is not known."""
    undone = exists().where(
        statement_lines.c.statement_id == statements.c.id,
        text(f"statement_lines.{UNDONE}"),
    )
    rows = connection.execute(
        select(statements)
        .where(
            statements.c.account == account,
            statements.c.whole_at.is_not(None),
            or_(statements.c.completed_at.is_(None), undone),
        )
        .order_by(statements.c.id)
    )
    return [_statement_of(row) for row in rows]


@dataclass(frozen=True, kw_only=True, slots=True)
class Unlisted:
    """A succeeded refund that no bill has."""

    id: int
    order_id: int
    refund_no: str
    amount: int
    state_at: datetime


def unlisted(
    connection: Connection, statement: Statement, after: tuple[datetime, int], limit: int
) -> list[Unlisted]:
    """Refunds that succeeded in the bill's time, after a place, and are in no bill at all."""
    rows = connection.execute(
        _paid_in_time(statement, *(refunds.c[field.name] for field in fields(Unlisted)))
        .where(
            tuple_(refunds.c.state_at, refunds.c.id)
            > tuple_(literal(after[0], UtcTime()), literal(after[1])),
            ~_LISTED,
        )
        .order_by(refunds.c.state_at, refunds.c.id)
        .limit(limit)
    )
    return [Unlisted(**row._mapping) for row in rows]


#: A bill that was left behind for another reading of its file has no say.
_LISTED: Final = exists().where(
    statement_lines.c.refund_id == refunds.c.id,
    statements.c.id == statement_lines.c.statement_id,
    statements.c.whole_at.is_not(None),
)


def _paid_in_time(statement: Statement, *columns: Any) -> Select[Any]:
    """The refunds that succeeded in a bill's time."""
    return select(*columns).where(
        refunds.c.account == statement.account,
        text(f"refunds.{SETTLED}"),
        refunds.c.state == "succeeded",
        refunds.c.state_at >= statement.covers_from,
        refunds.c.state_at < statement.covers_until,
    )


def count_unlisted(connection: Connection, statement: Statement) -> tuple[int, int]:
    """How many refunds succeeded in the bill's time and are in no bill at all, and of how many."""
    paid = _paid_in_time(statement, func.count())
    unlisted = connection.execute(paid.where(~_LISTED)).scalar_one()
    return int(unlisted), int(connection.execute(paid).scalar_one())


def still_unlisted(connection: Connection, ids: Collection[int]) -> set[int]:
    """Those of the refunds that are in no bill by now."""
    unlisted = select(refunds.c.id).where(is_one_of(refunds.c.id, "ids"), ~_LISTED)
    return set(connection.execute(unlisted, {"ids": list(ids)}).scalars())


def statement_rows(connection: Connection, account: str | None, limit: int) -> list[dict[str, Any]]:
    """The latest bills."""
    query = select(statements).order_by(statements.c.id.desc()).limit(limit)
    if account is not None:
        query = query.where(statements.c.account == account)
    return [dict(row._mapping) for row in connection.execute(query)]
