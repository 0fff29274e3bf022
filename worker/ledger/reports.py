"""Queries that people and programs read by: lists, timelines, refused jobs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Label,
    Row,
    Select,
    and_,
    case,
    func,
    literal,
    select,
    text,
    union_all,
)

from worker.case_rules import AccountDeed
from worker.ledger.engine import Ledger
from worker.ledger.query_first import not_cleared
from worker.ledger.tables import (
    account_entries,
    accounts,
    archived_attempts,
    archived_events,
    attempts,
    cases,
    events,
    orders,
    refunds,
    refused_jobs,
)
from worker.refund import WAITING_FOR_FUNDS

#: Rows fetched at once, so that an export of millions needs little memory.
CHUNK: Final = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportRow:
    """One refund as other systems read it; the amount is in fen."""

    account: str
    provider: str
    order_no: str
    refund_no: str
    amount: int
    state: str
    provider_refund_no: str | None
    attempts: int
    #: The open case's kind, or None.
    case: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ListRow(ExportRow):
    """One refund in a list."""

    #: When it is sent, asked about or looked at next; None: not by itself.
    due_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """One event of a refund."""

    seq: int
    at: datetime
    kind: str
    state: str
    attempt: int
    detail: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountRow:
    """One account: what stops it, and what waits to be sent, in fen."""

    account: str
    provider: str
    merchant: str
    paused_at: datetime | None
    paused_reason: str | None
    #: Who has paused it: a person, or ``refundry`` by a rule.
    paused_by: str | None
    #: ``closed``, ``open``, or ``half_open``: its time has passed, and one call will go on trial.
    breaker: str
    breaker_until: datetime | None
    failures: int
    #: The ledger was restored: since when it asks before it sends, why, and how many are left.
    query_first_since: datetime | None
    query_first_reason: str | None
    uncleared: int
    waiting: int
    waiting_amount: int
    #: Those of them that go again once the merchant's balance at the provider is filled up.
    short_of_funds: int
    short_of_funds_amount: int
    #: When the first of them is tried again.
    funds_next_at: datetime | None


_EXPORTED: Final = ExportRow.__slots__


def _refund_rows() -> Select[Any]:
    open_case = (
        select(func.min(cases.c.kind))
        .where(cases.c.refund_id == refunds.c.id, text("cases.closed_at IS NULL"))
        .scalar_subquery()
    )
    return (
        select(
            refunds.c.id,
            refunds.c.account,
            accounts.c.provider,
            orders.c.order_no,
            refunds.c.refund_no,
            refunds.c.amount,
            refunds.c.state,
            refunds.c.provider_refund_no,
            refunds.c.attempt.label("attempts"),
            open_case.label("case"),
            refunds.c.due_at,
        )
        .join(orders, orders.c.id == refunds.c.order_id)
        .join(accounts, accounts.c.name == refunds.c.account)
        .order_by(refunds.c.id)
    )


def _export_row(row: Any) -> ExportRow:
    return ExportRow(**{name: row._mapping[name] for name in _EXPORTED})


def export_rows(ledger: Ledger) -> Iterator[ExportRow]:
    """Every refund, in the order of intake; no transaction is open while a row is at work."""
    last = 0
    while rows := _page(ledger, _refund_rows().where(refunds.c.id > last).limit(CHUNK)):
        yield from map(_export_row, rows)
        last = rows[-1].id


def _page(ledger: Ledger, query: Select[Any]) -> Sequence[Row[Any]]:
    with ledger.read() as connection:
        return connection.execute(query).all()


def list_rows(
    connection: Connection, state: str | None, account: str | None, limit: int
) -> list[ListRow]:
    """The latest refunds, of one state or account where given."""
    query = _refund_rows().order_by(None).order_by(refunds.c.id.desc()).limit(limit)
    if state is not None:
        query = query.where(refunds.c.state == state)
    if account is not None:
        query = query.where(refunds.c.account == account)
    names = (*_EXPORTED, "due_at")
    rows = connection.execute(query)
    return [ListRow(**{name: row._mapping[name] for name in names}) for row in rows]


def account_rows(connection: Connection, now: datetime) -> list[AccountRow]:
    """Every account, by its name."""
    latest = and_(events.c.refund_id == refunds.c.id, events.c.seq == refunds.c.event_seq)
    short = events.c.kind == WAITING_FOR_FUNDS

    def summed(of: ColumnElement[bool], what: ColumnElement[int], name: str) -> Label[int]:
        return func.sum(case((of, what), else_=0)).label(name)

    queued = (
        select(
            refunds.c.account,
            func.count().label("waiting"),
            func.sum(refunds.c.amount).label("waiting_amount"),
            summed(short, literal(1), "short_of_funds"),
            summed(short, refunds.c.amount, "short_of_funds_amount"),
            func.min(case((short, refunds.c.due_at))).label("funds_next_at"),
            summed(not_cleared(accounts.c.query_first_since), literal(1), "uncleared"),
        )
        .join(accounts, accounts.c.name == refunds.c.account)
        .join(events, latest)
        .where(refunds.c.state == "queued")
        .group_by(refunds.c.account)
        .subquery()
    )
    rows = connection.execute(
        select(accounts, _paused_by(), *(column for column in queued.c if column.name != "account"))
        .outerjoin(queued, queued.c.account == accounts.c.name)
        .order_by(accounts.c.name)
    )
    return [_account_row(row, now) for row in rows]


def _paused_by() -> Label[str | None]:
    """Who has done it last, of every account."""
    query = (
        select(account_entries.c.who)
        .where(
            account_entries.c.account == accounts.c.name,
            account_entries.c.what == AccountDeed.PAUSED,
        )
        .order_by(account_entries.c.id.desc())
        .limit(1)
    )
    return query.scalar_subquery().label("paused_by")


def _account_row(row: Any, now: datetime) -> AccountRow:
    until = row.breaker_until
    return AccountRow(
        account=row.name,
        provider=row.provider,
        merchant=row.merchant,
        paused_at=row.paused_at,
        paused_reason=row.paused_reason,
        paused_by=row.paused_by if row.paused_at else None,
        breaker="closed" if until is None else "open" if until > now else "half_open",
        breaker_until=until,
        failures=row.failures,
        query_first_since=row.query_first_since,
        query_first_reason=row.query_first_reason,
        uncleared=int(row.uncleared or 0) if row.query_first_since else 0,
        waiting=row.waiting or 0,
        waiting_amount=int(row.waiting_amount or 0),
        short_of_funds=int(row.short_of_funds or 0),
        short_of_funds_amount=int(row.short_of_funds_amount or 0),
        funds_next_at=row.funds_next_at,
    )


def timeline(connection: Connection, refund_id: int) -> list[Moment]:
    """The events of a refund, the first first, wherever they are kept."""
    kept = union_all(
        *(select(one).where(one.c.refund_id == refund_id) for one in (archived_events, events))
    )
    rows = connection.execute(kept.order_by("seq"))
    return [Moment(**{name: row._mapping[name] for name in Moment.__slots__}) for row in rows]


def attempt_rows(connection: Connection, refund_id: int) -> list[dict[str, Any]]:
    """The attempts of a refund, the first first, wherever they are kept."""
    times = ("started_at", "finished_at")
    names = ("number", "status", *times, "code", "message", "request", "answer")
    kept = union_all(
        *(
            select(*(one.c[name] for name in names)).where(one.c.refund_id == refund_id)
            for one in (archived_attempts, attempts)
        )
    )
    rows = connection.execute(kept.order_by("number"))
    return [dict(row._mapping) for row in rows]


def _refused(query: Select[Any]) -> Select[Any]:
    shown = ("task", "account", "refund_no", "code", "reason", "times", "first_at", "last_at")
    chosen = query.with_only_columns(*(refused_jobs.c[name] for name in shown))
    return chosen.order_by(refused_jobs.c.last_at.desc())


def refused_rows(connection: Connection, limit: int) -> list[dict[str, Any]]:
    """The jobs refused last."""
    rows = connection.execute(_refused(select(refused_jobs)).limit(limit))
    return [dict(row._mapping) for row in rows]


def refused_of(connection: Connection, refund_no: str) -> list[dict[str, Any]]:
    """Why jobs of this refund number were refused, the latest first."""
    query = select(refused_jobs).where(refused_jobs.c.refund_no == refund_no)
    return [dict(row._mapping) for row in connection.execute(_refused(query))]
