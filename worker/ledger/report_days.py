"""Queries of a report over days, by Shanghai's calendar: what differed, and its cases."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, case, func, select

from worker.ledger.statement_tables import differences, statement_lines
from worker.ledger.tables import cases, refunds
from worker.ledger.types import shanghai_day

_Query = Select[*tuple[Any, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundOfDay:
    """What was found to differ on a day, of one kind; amounts in fen."""

    day: date
    kind: str
    found: int
    #: By a later bill, at any time.
    explained: int
    #: What the refunds come to, where it is of any; and what the bills' lines have paid.
    ours: int
    theirs: int


def differences_by_day(
    connection: Connection, account: str | None, since: datetime
) -> list[FoundOfDay]:
    """What was found since then, by day and kind."""
    day = shanghai_day(differences.c.found_at).label("day")
    paid = case((statement_lines.c.succeeded, statement_lines.c.amount), else_=0)
    query = (
        select(
            day,
            differences.c.kind,
            func.count().label("found"),
            func.count(differences.c.explained_at).label("explained"),
            func.coalesce(func.sum(refunds.c.amount), 0).label("ours"),
            func.coalesce(func.sum(paid), 0).label("theirs"),
        )
        .select_from(differences)
        .outerjoin(refunds, refunds.c.id == differences.c.refund_id)
        .outerjoin(
            statement_lines,
            (statement_lines.c.statement_id == differences.c.statement_id)
            & (statement_lines.c.number == differences.c.line),
        )
        .where(differences.c.found_at >= since)
        .group_by(day, differences.c.kind)
        .order_by(day, differences.c.kind)
    )
    return [_found_of(row) for row in connection.execute(_of_account(query, differences, account))]


def _found_of(row: Any) -> FoundOfDay:
    sums = {"ours": int(row.ours), "theirs": int(row.theirs)}
    return FoundOfDay(**{**row._mapping, **sums})


@dataclass(frozen=True, kw_only=True, slots=True)
class CasesOverDays:
    """The cases of some kinds: how many were open before, and were opened and closed by day."""

    open_before: int
    opened: dict[date, int]
    closed: dict[date, int]


def cases_by_day(
    connection: Connection, account: str | None, kinds: Collection[str], since: datetime
) -> CasesOverDays:
    """Cases of the kinds since then."""
    of_kinds = cases.c.kind.in_(sorted(kinds))
    before = select(func.count()).where(
        of_kinds,
        cases.c.opened_at < since,
        cases.c.closed_at.is_(None) | (cases.c.closed_at >= since),
    )
    return CasesOverDays(
        open_before=int(connection.execute(_of_account(before, cases, account)).scalar_one()),
        opened=_by_day(connection, account, of_kinds, cases.c.opened_at, since),
        closed=_by_day(connection, account, of_kinds, cases.c.closed_at, since),
    )


def _by_day(
    connection: Connection,
    account: str | None,
    of_kinds: ColumnElement[bool],
    at: ColumnElement[datetime],
    since: datetime,
) -> dict[date, int]:
    day = shanghai_day(at).label("day")
    query = select(day, func.count().label("times")).where(of_kinds, at >= since).group_by(day)
    found = connection.execute(_of_account(query, cases, account))
    return {row.day: row.times for row in found}


def _of_account(query: _Query, table: Any, account: str | None) -> _Query:
    return query if account is None else query.where(table.c.account == account)
