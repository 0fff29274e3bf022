"""Queries on runs of reconciliation, and on the refunds of their time."""

from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Select,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    tuple_,
    update,
)

from worker.ledger.rows import Order, order_of
from worker.ledger.statement_tables import (
    UNDONE,
    reconciliations,
    statement_lines,
    statements,
)
from worker.ledger.tables import SETTLED, orders, refunds
from worker.ledger.types import UtcTime, insert_into, is_one_of
from worker.statements.judging import Result

#: Who has it begun.
BEAT: Final = "beat"
HAND: Final = "hand"


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A ``reconciliations`` row."""

    id: int
    account: str
    since: datetime
    until: datetime
    order_id: int | None
    begun_by: str
    began_at: datetime
    ended_at: datetime | None
    phase: str
    phase_at: datetime
    reached: int
    reached_at: datetime
    counts: dict[str, int]


_NAMES: Final = tuple(field.name for field in fields(Run))


def _run_of(row: Any) -> Run:
    return Run(**{name: row._mapping[name] for name in _NAMES})


def begin_run(connection: Connection, values: dict[str, Any]) -> int:
    """A new run, by hand; its id."""
    done = connection.execute(insert(reconciliations).values(**values))
    assert done.inserted_primary_key is not None
    return int(done.inserted_primary_key[0])


def begin_daily_run(connection: Connection, values: dict[str, Any]) -> None:
    """A day's run of beat, unless there is one."""
    connection.execute(
        insert_into(connection, reconciliations)
        .values(**values)
        .on_conflict_do_nothing(
            index_elements=["account", "since"], index_where=text("begun_by = 'beat'")
        )
    )


def last_daily_run(connection: Connection, account: str) -> datetime | None:
    """The beginning of the latest day that beat has begun a run of."""
    latest = select(func.max(reconciliations.c.since)).where(
        reconciliations.c.account == account, text("begun_by = 'beat'")
    )
    found: datetime | None = connection.execute(latest).scalar_one()
    return found


def open_runs(connection: Connection, begun_by: str) -> list[int]:
    """Runs that have not ended, the oldest first."""
    rows = connection.execute(
        select(reconciliations.c.id)
        .where(reconciliations.c.ended_at.is_(None), reconciliations.c.begun_by == begun_by)
        .order_by(reconciliations.c.id)
    )
    return list(rows.scalars())


def claim_run(connection: Connection, run_id: int, now: datetime, until: datetime) -> Run | None:
    """A run that has not ended, for whoever works on it until then; None if somebody does."""
    free = or_(reconciliations.c.claimed_until.is_(None), reconciliations.c.claimed_until <= now)
    row = connection.execute(
        update(reconciliations)
        .where(reconciliations.c.id == run_id, reconciliations.c.ended_at.is_(None), free)
        .values(claimed_until=until)
        .returning(reconciliations)
    ).first()
    return _run_of(row) if row else None


def get_run(connection: Connection, run_id: int) -> Run:
    """A run."""
    row = connection.execute(select(reconciliations).where(reconciliations.c.id == run_id))
    return _run_of(row.one())


def update_run(connection: Connection, run_id: int, values: dict[str, Any]) -> None:
    """Write columns of a run, and let it go."""
    connection.execute(
        update(reconciliations)
        .where(reconciliations.c.id == run_id)
        .values(values | {"claimed_until": None})
    )


def _settled(run: Run, *columns: Any) -> Select[Any]:
    """The refunds that became final in a run's time."""
    query = select(*columns).where(
        refunds.c.account == run.account,
        text(SETTLED),
        refunds.c.state_at >= run.since,
        refunds.c.state_at < run.until,
    )
    return query if run.order_id is None else query.where(refunds.c.order_id == run.order_id)


def _unasked(run: Run, *columns: Any) -> Select[Any]:
    asked_before = or_(refunds.c.asked_at.is_(None), refunds.c.asked_at < run.began_at)
    return _settled(run, *columns).where(asked_before)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asking:
    """How far the questions of a run are."""

    #: Refunds that were made due.
    made_due: int
    #: The place before the first that nobody has asked about since; None: all were asked about.
    reached: tuple[datetime, int] | None


def ask_again(
    connection: Connection, run: Run, now: datetime, not_after: datetime, most: int
) -> Asking:
    """Make refunds due that were not asked about since the run began, in their order.

    Up to ``most`` are due at a time, so that questions about open refunds do not wait behind them
    all; and looked for behind the place that the run has reached, however many are before it.
    ``not_after``: those that came to their end later may not be asked about yet.
    """
    place = tuple_(literal(run.reached_at, UtcTime()), literal(run.reached))
    unasked = (
        _unasked(run, refunds.c.id, refunds.c.state_at, refunds.c.due_at)
        .where(tuple_(refunds.c.state_at, refunds.c.id) > place)
        .order_by(refunds.c.state_at, refunds.c.id)
        .limit(most)
    )
    rows = connection.execute(unasked).all()
    if not rows:
        return Asking(made_due=0, reached=None)
    later = [row.id for row in rows if row.state_at <= not_after and not _is_due(row, now)]
    made = _make_due(connection, later, now) if later else 0
    return Asking(made_due=made, reached=(rows[0].state_at, rows[0].id - 1))


def _is_due(row: Any, now: datetime) -> bool:
    return row.due_at is not None and row.due_at <= now


_FREE: Final = (
    select(refunds.c.id).where(is_one_of(refunds.c.id, "ids")).order_by(refunds.c.id)
).with_for_update(skip_locked=True)


def _make_due(connection: Connection, ids: list[int], now: datetime) -> int:
    """Those that nobody has locked; the others another time."""
    free = list(connection.execute(_FREE, {"ids": ids}).scalars())
    due = update(refunds).where(is_one_of(refunds.c.id, "ids")).values(due_at=now)
    connection.execute(due, {"ids": free})
    return len(free)


def count_settled(connection: Connection, run: Run) -> tuple[int, int]:
    """How many refunds became final in a run's time, and how many of them nobody asked about."""
    settled = connection.execute(_settled(run, func.count())).scalar_one()
    unasked = connection.execute(_unasked(run, func.count())).scalar_one()
    return int(settled), int(unasked)


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """A refund that became final in a run's time."""

    id: int
    state_at: datetime
    order_id: int
    order_no: str


def next_settled(connection: Connection, run: Run, limit: int) -> list[Settled]:
    """The refunds after the one that the run has reached."""
    place = tuple_(literal(run.reached_at, UtcTime()), literal(run.reached))
    query = (
        _settled(run, refunds.c.id, refunds.c.state_at, refunds.c.order_id, orders.c.order_no)
        .join(orders, orders.c.id == refunds.c.order_id)
        .where(tuple_(refunds.c.state_at, refunds.c.id) > place)
        .order_by(refunds.c.state_at, refunds.c.id)
        .limit(limit)
    )
    return [Settled(**row._mapping) for row in connection.execute(query)]


_KEPT_FIGURES: Final = (
    select(orders, func.max(refunds.c.state_at).label("changed_at"))
    .join(refunds, refunds.c.order_id == orders.c.id)
    .where(is_one_of(orders.c.id, "ids"), orders.c.figures_at.is_not(None))
    .group_by(*orders.columns)
    .order_by(orders.c.id)
)


def kept_figures(
    connection: Connection, order_ids: Collection[int]
) -> list[tuple[Order, datetime]]:
    """Those of the orders that have a provider's figures; when a refund of it changed last."""
    rows = connection.execute(_KEPT_FIGURES, {"ids": sorted(order_ids)})
    return [_with_change(dict(row._mapping)) for row in rows]


def _with_change(values: dict[str, Any]) -> tuple[Order, datetime]:
    changed_at: datetime = values.pop("changed_at")
    return order_of(values), changed_at


def has_waiting_lines(connection: Connection, account: str) -> bool:
    """Whether a line of the account's bills waits for an answer about a final refund."""
    found = connection.execute(
        select(statement_lines.c.number)
        .join(statements, statements.c.id == statement_lines.c.statement_id)
        .join(refunds, refunds.c.id == statement_lines.c.refund_id)
        .where(
            statements.c.account == account,
            text(f"statement_lines.{UNDONE}"),
            statement_lines.c.result == Result.WAITING,
            text(f"refunds.{SETTLED}"),
        )
        .limit(1)
    )
    return found.first() is not None


def run_rows(
    connection: Connection, account: str | None, limit: int, run_id: int | None = None
) -> list[dict[str, Any]]:
    """The latest runs, or one."""
    query = select(*(reconciliations.c[name] for name in _NAMES))
    query = query.order_by(reconciliations.c.id.desc()).limit(limit)
    if account is not None:
        query = query.where(reconciliations.c.account == account)
    if run_id is not None:
        query = query.where(reconciliations.c.id == run_id)
    return [dict(row._mapping) for row in connection.execute(query)]
