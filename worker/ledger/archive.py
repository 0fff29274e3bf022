"""Queries on the archive: what is due for it, how it gets there, and what it has of a refund."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    not_,
    or_,
    select,
    text,
    update,
)

from worker.ledger.archive_tables import archived_attempts, archived_events, archives
from worker.ledger.tables import (
    announcements,
    attempts,
    cases,
    events,
    orders,
    refunds,
    unarchived,
)
from worker.refund import OPEN, Attempt

#: A table, its copy, and what numbers its rows within a refund.
_PAIRS: Final = ((events, archived_events, "seq"), (attempts, archived_attempts, "number"))

Values = dict[str, Any]


def lock_archivable(
    connection: Connection, before: datetime, later: Mapping[str, datetime], limit: int
) -> list[Values]:
    """Refunds of which nothing is expected any more, locked; what somebody has locked is left out.

    Args:
        connection: of a write transaction.
        before: when they became final at the latest, and when anything was written of them last.
        later: the same for accounts that watch for longer.
        limit: the most.
    """
    watched = [
        and_(refunds.c.account == name, refunds.c.state_at > own) for name, own in later.items()
    ]
    last = and_(events.c.refund_id == refunds.c.id, events.c.seq == refunds.c.event_seq)
    names = ("id", "merchant", "refund_no", "event_seq", "archived_seq", "attempt")
    query = (
        select(*(refunds.c[name] for name in names))
        .join(orders, orders.c.id == refunds.c.order_id)
        .join(events, last)
        .where(
            text(unarchived("refunds.")),
            refunds.c.state_at <= before,
            events.c.at <= before,
            refunds.c.due_at.is_(None),
            orders.c.frozen_at.is_(None),
            orders.c.hold_token.is_(None),
            not_(or_(*watched)) if watched else text("TRUE"),
            *(not_(one) for one in _expected()),
        )
        .order_by(refunds.c.state_at)
        .limit(limit)
        .with_for_update(of=refunds, skip_locked=True)
    )
    return [dict(row._mapping) for row in connection.execute(query)]


def _expected() -> tuple[ColumnElement[bool], ...]:
    """What keeps a refund in the ledger: a case, an open refund of its order, something untold."""
    other = refunds.alias()
    return (
        exists().where(cases.c.refund_id == refunds.c.id, cases.c.closed_at.is_(None)),
        exists().where(cases.c.order_id == refunds.c.order_id, cases.c.closed_at.is_(None)),
        exists().where(other.c.order_id == refunds.c.order_id, other.c.state.in_(OPEN)),
        exists().where(
            announcements.c.refund_id == refunds.c.id, announcements.c.delivered_at.is_(None)
        ),
        exists().where(attempts.c.refund_id == refunds.c.id, attempts.c.status == Attempt.STARTED),
    )


def copy_to_archive(connection: Connection, ids: Collection[int]) -> None:
    """Copy what the ledger has of locked refunds, but for the event that each stands on."""
    for table, copy, _ in _PAIRS:
        names = [column.name for column in copy.c]
        connection.execute(insert(copy).from_select(names, _movable(table, names, ids)))


def _movable(table: Table, names: list[str], ids: Collection[int]) -> Select[Any]:
    query = select(*(table.c[name] for name in names)).where(table.c.refund_id.in_(ids))
    if table is events:
        query = query.join(refunds, refunds.c.id == events.c.refund_id)
        query = query.where(events.c.seq < refunds.c.event_seq)
    return query


def let_go(connection: Connection, ids: Collection[int]) -> None:
    """Delete from the ledger what the archive has of these refunds; triggers hold both alike."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.refundry_let_go(sorted(ids))))
        return
    for table, copy, number in _PAIRS:
        same = copy.c[number] == table.c[number]
        has = exists().where(copy.c.refund_id == table.c.refund_id, same)
        connection.execute(delete(table).where(table.c.refund_id.in_(ids), has))


def seal_lots(connection: Connection, lots: list[Values]) -> None:
    """Note lots' digests, and up to where the archive has their refunds' events."""
    connection.execute(insert(archives), lots)
    reached = [{"lot_of": lot["refund_id"], "up_to": lot["last_seq"]} for lot in lots]
    connection.execute(
        update(refunds)
        .where(refunds.c.id == bindparam("lot_of"))
        .values(archived_seq=bindparam("up_to")),
        reached,
    )


def archived_of(connection: Connection, ids: Collection[int]) -> dict[int, dict[str, list[Values]]]:
    """``archives``, ``archived_events`` and ``archived_attempts`` of refunds, in their order."""
    found: dict[int, dict[str, list[Values]]] = {}
    for table in (archives, archived_events, archived_attempts):
        query = select(table).where(table.c.refund_id.in_(ids)).order_by(*table.primary_key.columns)
        for row in connection.execute(query):
            of_refund = found.setdefault(row.refund_id, {})
            of_refund.setdefault(table.name, []).append(dict(row._mapping))
    return found


def count_archived(connection: Connection) -> int:
    """How many refunds the archive has something of."""
    rows = connection.execute(select(func.count(archives.c.refund_id.distinct())))
    return int(rows.scalar_one())
