"""Queries on what differs: each difference is kept once, and has a case."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, text, update

from worker.case_rules import Deed
from worker.ledger import journal
from worker.ledger.statement_tables import differences, statement_lines
from worker.ledger.tables import cases, orders, refunds
from worker.ledger.types import insert_into
from worker.refund import Case


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """What differs, and where it was seen."""

    account: str
    merchant: str
    kind: Case
    #: SHA-256 of what makes it the difference that it is: it is found once for all.
    digest: str
    #: For people: a number of the refund, the order, or a line of a bill.
    subject: str
    evidence: dict[str, Any]
    order_id: int | None = None
    refund_id: int | None = None
    statement_id: int | None = None
    line: int | None = None
    run_id: int | None = None


def keep_difference(
    connection: Connection,
    found: Difference,
    now: datetime,
    *,
    owned_by: Collection[Case] = (),
) -> bool:
    """Keep a difference, and open a case for it; False where it is known already.

    Where a case of the same kind and subject is open, or one of the kinds ``owned_by`` of its
    refund, the difference is noted there.
    """
    known = select(differences.c.id).where(
        differences.c.merchant == found.merchant, differences.c.digest == found.digest
    )
    if connection.execute(known).first() is not None:
        return False
    case_id = _open_case_of(connection, found, owned_by)
    if case_id is None:
        journal.open_case_about(
            connection,
            found.account,
            found.kind,
            found.subject,
            found.evidence,
            now,
            order_id=found.order_id,
            refund_id=found.refund_id,
        )
        case_id = _open_case_of(connection, found, ())
    else:
        said = f"{found.kind}: {found.subject}"
        journal.add_entry(
            connection, case_id, Deed.NOTED, journal.OURSELVES, now, said, found.evidence
        )
    names = ("account", "merchant", "kind", "digest", "refund_id", "statement_id", "line", "run_id")
    values = {name: getattr(found, name) for name in names}
    written = connection.execute(
        insert_into(connection, differences)
        .values(values | {"case_id": case_id, "found_at": now})
        .on_conflict_do_nothing(index_elements=["merchant", "digest"])
        .returning(differences.c.id)
    )
    return written.first() is not None


def _open_case_of(
    connection: Connection, found: Difference, owned_by: Collection[Case]
) -> int | None:
    """The open case that the difference belongs to."""
    is_open = text("cases.closed_at IS NULL")
    query = select(cases.c.id).where(is_open).order_by(cases.c.id).limit(1)
    if found.refund_id is not None:
        kinds = [found.kind, *owned_by]
        query = query.where(cases.c.refund_id == found.refund_id, cases.c.kind.in_(kinds))
    else:
        subject = journal.storable(found.subject)[: journal.MAX_SUBJECT]
        query = query.where(
            cases.c.account == found.account,
            cases.c.kind == found.kind,
            cases.c.subject == subject,
        )
    return connection.execute(query).scalar()


def explain_differences(
    connection: Connection,
    refund_ids: Collection[int],
    kinds: Collection[Case],
    statement_id: int,
    said: str,
    now: datetime,
) -> int:
    """Note in the cases of what differed that a later bill explains it; returns how many."""
    unexplained = (
        select(differences.c.id, differences.c.case_id)
        .where(
            differences.c.refund_id.in_(sorted(refund_ids)),
            differences.c.explained_at.is_(None),
            differences.c.kind.in_(kinds),
            differences.c.statement_id.is_distinct_from(statement_id),
        )
        .order_by(differences.c.id)
        .with_for_update()
    )
    found = connection.execute(unexplained).all()
    for row in found:
        journal.add_entry(connection, row.case_id, Deed.NOTED, journal.OURSELVES, now, said)
    connection.execute(
        update(differences)
        .where(differences.c.id.in_([row.id for row in found]))
        .values(explained_at=now)
    )
    return len(found)


def difference_rows(
    connection: Connection,
    account: str | None,
    statement_id: int | None,
    since: datetime | None,
    limit: int,
) -> list[dict[str, Any]]:
    """What differs, the latest first, with the line, the refund and the case."""
    query = (
        select(
            differences.c.id,
            differences.c.account,
            differences.c.kind,
            refunds.c.refund_no,
            orders.c.order_no,
            refunds.c.amount,
            refunds.c.state,
            differences.c.statement_id,
            differences.c.line,
            statement_lines.c.refund_no.label("their_refund_no"),
            statement_lines.c.order_no.label("their_order_no"),
            statement_lines.c.amount.label("their_amount"),
            statement_lines.c.succeeded.label("they_paid"),
            differences.c.case_id,
            differences.c.found_at,
            differences.c.explained_at,
            cases.c.closed_at,
        )
        .join(cases, cases.c.id == differences.c.case_id)
        .outerjoin(refunds, refunds.c.id == differences.c.refund_id)
        .outerjoin(orders, orders.c.id == refunds.c.order_id)
        .outerjoin(
            statement_lines,
            (statement_lines.c.statement_id == differences.c.statement_id)
            & (statement_lines.c.number == differences.c.line),
        )
        .order_by(differences.c.id.desc())
        .limit(limit)
    )
    if account is not None:
        query = query.where(differences.c.account == account)
    if statement_id is not None:
        query = query.where(differences.c.statement_id == statement_id)
    if since is not None:
        query = query.where(differences.c.found_at >= since)
    return [dict(row._mapping) for row in connection.execute(query)]
