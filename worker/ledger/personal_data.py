"""Queries on sealed personal data. Only :func:`sealed_of` and :func:`lock_former` read it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, or_, select, update

from worker.ledger.personal_tables import personal_data
from worker.ledger.tables import refunds
from worker.ledger.writes import insert_row
from worker.refund import FINAL


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """What is kept of a refund, but for what is sealed: the gateway may see no more."""

    #: None, as the digest, once it was purged.
    key_id: str | None
    digest: str | None
    kept_at: datetime
    purged_at: datetime | None


def keep_sealed(
    connection: Connection, refund_id: int, sealed: Mapping[str, Any], kept_at: datetime
) -> None:
    """Keep ``key_id``, ``sealed`` and ``digest`` of a refund that is new here."""
    insert_row(connection, personal_data, {"refund_id": refund_id, "kept_at": kept_at, **sealed})


def kept_of(connection: Connection, refund_id: int) -> Kept | None:
    """What is kept of a refund, not opened."""
    columns = (personal_data.c[name] for name in Kept.__slots__)
    row = connection.execute(select(*columns).where(personal_data.c.refund_id == refund_id)).first()
    return Kept(**row._mapping) if row else None


def sealed_of(connection: Connection, refund_id: int) -> tuple[str, str] | None:
    """Key and sealed data of a refund that is about to be sent; None where it is not there."""
    row = connection.execute(
        select(personal_data.c.key_id, personal_data.c.sealed).where(
            personal_data.c.refund_id == refund_id, personal_data.c.purged_at.is_(None)
        )
    ).first()
    return (row.key_id, row.sealed) if row else None


def purge(connection: Connection, before: datetime, now: datetime, limit: int) -> int:
    """Forget what belongs to refunds that were final by then, at most ``limit``; how many.

    What somebody is at work on is left for the next time. What became final by then was accepted
    by then, which the index knows.
    """
    due = (
        select(refunds.c.id)
        .join(personal_data, personal_data.c.refund_id == refunds.c.id)
        .where(
            personal_data.c.purged_at.is_(None),
            personal_data.c.kept_at <= before,
            refunds.c.state.in_(FINAL),
            refunds.c.state_at <= before,
        )
        .order_by(personal_data.c.kept_at)
        .limit(limit)
        .with_for_update(of=refunds, skip_locked=True)
    )
    ids = list(connection.execute(due).scalars())
    if ids:
        gone = {"key_id": None, "sealed": None, "digest": None, "purged_at": now}
        connection.execute(
            update(personal_data).where(personal_data.c.refund_id.in_(ids)).values(gone)
        )
    return len(ids)


def lock_former(
    connection: Connection, former: Collection[str], limit: int
) -> list[tuple[int, str, str, str, str]]:
    """Refund id, merchant, number, key and sealed data of what a former key has sealed."""
    rows = connection.execute(
        select(
            personal_data.c.refund_id,
            refunds.c.merchant,
            refunds.c.refund_no,
            personal_data.c.key_id,
            personal_data.c.sealed,
        )
        .join(refunds, refunds.c.id == personal_data.c.refund_id)
        .where(personal_data.c.purged_at.is_(None), personal_data.c.key_id.in_(sorted(former)))
        .limit(limit)
        .with_for_update(of=personal_data, skip_locked=True)
    )
    return [tuple(row) for row in rows]


def seal_anew(connection: Connection, refund_id: int, sealed: Mapping[str, Any]) -> None:
    """What is locked, under another key."""
    connection.execute(
        update(personal_data).where(personal_data.c.refund_id == refund_id).values(sealed)
    )


def count_kept(connection: Connection) -> dict[str | None, int]:
    """How many refunds' data each key has sealed; None: how many were purged."""
    rows = connection.execute(
        select(personal_data.c.key_id, func.count()).group_by(personal_data.c.key_id)
    )
    return {key_id: count for key_id, count in rows}


def refunds_in_clear(
    connection: Connection, account: str, names: Iterable[str], after: int, limit: int
) -> list[int]:
    """Refunds of an account that have one of the fields in clear, from before they were sealed."""
    fields = [refunds.c.request["extra"][name].as_string() for name in names]
    rows = connection.execute(
        select(refunds.c.id)
        .where(
            refunds.c.account == account,
            refunds.c.id > after,
            or_(*(one.is_not(None) for one in fields)),
        )
        .order_by(refunds.c.id)
        .limit(limit)
    )
    return list(rows.scalars())
