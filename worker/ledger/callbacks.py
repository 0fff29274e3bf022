"""Queries on providers' notifications: those that were stored, and how many were refused."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, false, func, select, text

from worker.ledger.journal import storable
from worker.ledger.tables import ASKABLE, accounts, callbacks, refunds, refused_callbacks
from worker.ledger.types import insert_into

#: What is kept of a content type, in characters.
_MAX_TYPE: Final = 200
_MAX_NUMBER: Final = 128


@dataclass(frozen=True, kw_only=True, slots=True)
class Callback:
    """One stored notification, as it was taken last."""

    id: int
    refund_id: int | None
    verdict: str
    stale: bool
    content_type: str
    body: bytes
    #: How often the same bytes came.
    times: int


def keep_callback(
    connection: Connection,
    account: str,
    content_type: str,
    body: bytes,
    read: Mapping[str, object],
    now: datetime,
) -> Callback:
    """Store a notification; the same bytes again are counted, and what they show now is noted.

    What came in time once stays so: only its repetition is stale.

    Args:
        connection: of a write transaction.
        account: the account that it was sent to.
        content_type: as it came.
        body: the bytes that were signed.
        read: its ``refund_id``, ``refund_no``, ``verdict`` and ``stale``.
        now: the ledger's time.
    """
    seen = dict(read) | {"last_at": now}
    was_and_is_stale = callbacks.c.stale if read["stale"] else false()
    written = connection.execute(
        insert_into(connection, callbacks)
        .values(
            account=account,
            digest=hashlib.sha256(body).hexdigest(),
            content_type=storable(content_type)[:_MAX_TYPE],
            body=body,
            first_at=now,
            **seen,
        )
        .on_conflict_do_update(
            index_elements=["account", "digest"],
            set_=seen | {"times": callbacks.c.times + 1, "stale": was_and_is_stale},
        )
        .returning(callbacks)
    )
    return _callback_of(written.one())


def storable_number(refund_no: str) -> str:
    """A refund number as far as the ledger can hold it."""
    return storable(refund_no)[:_MAX_NUMBER]


def last_callback(connection: Connection, refund_id: int, verdict: str) -> Callback | None:
    """The notification of that verdict about a refund that came last."""
    row = connection.execute(
        select(callbacks)
        .where(callbacks.c.refund_id == refund_id, callbacks.c.verdict == verdict)
        .order_by(callbacks.c.last_at.desc(), callbacks.c.id.desc())
        .limit(1)
    ).first()
    return _callback_of(row) if row else None


def refunds_to_look_at(
    connection: Connection, account: str, now: datetime, limit: int
) -> list[tuple[int, int]]:
    """Order id and id of an account's due refunds."""
    rows = connection.execute(
        select(refunds.c.order_id, refunds.c.id)
        .where(refunds.c.account == account, text(ASKABLE), refunds.c.due_at <= now)
        .order_by(refunds.c.due_at)
        .limit(limit)
    )
    return [(row.order_id, row.id) for row in rows]


def count_refused_callback(connection: Connection, account: str, code: str, now: datetime) -> None:
    """Count a notification that was not taken; nothing of it is kept."""
    connection.execute(
        insert_into(connection, refused_callbacks)
        .values(account=account, code=code, first_at=now, last_at=now)
        .on_conflict_do_update(
            index_elements=["account", "code"],
            set_={"times": refused_callbacks.c.times + 1, "last_at": now},
        )
    )


def _callback_of(row: Row[Any]) -> Callback:
    return Callback(**{name: row._mapping[name] for name in Callback.__slots__})


def _shown() -> Select[Any]:
    """The columns that people read, without the body."""
    own = ("id", "account", "refund_no", "verdict", "stale", "times", "first_at", "last_at")
    return select(
        *(callbacks.c[name] for name in own),
        (callbacks.c.refund_id.is_not(None)).label("known"),
        func.length(callbacks.c.body).label("bytes"),
    ).order_by(callbacks.c.id.desc())


def callback_rows(
    connection: Connection, account: str | None, refund_no: str | None, limit: int
) -> list[dict[str, Any]]:
    """The latest stored notifications, of one account or refund number where given."""
    query = _shown().limit(limit)
    if account is not None:
        query = query.where(callbacks.c.account == account)
    if refund_no is not None:
        query = query.where(callbacks.c.refund_no == refund_no)
    return [dict(row._mapping) for row in connection.execute(query)]


def callbacks_of(connection: Connection, refund_id: int) -> list[dict[str, Any]]:
    """The notifications about a refund, the latest first."""
    query = _shown().where(callbacks.c.refund_id == refund_id)
    return [dict(row._mapping) for row in connection.execute(query)]


def merchants_of_callbacks(connection: Connection, refund_ids: list[int]) -> list[tuple[int, str]]:
    """Of each of the refunds, the merchants whose notifications are stored as about it."""
    if not refund_ids:
        return []
    rows = connection.execute(
        select(callbacks.c.refund_id, accounts.c.merchant)
        .join(accounts, accounts.c.name == callbacks.c.account)
        .where(callbacks.c.refund_id.in_(refund_ids))
        .distinct()
    )
    return [(row.refund_id, row.merchant) for row in rows]


def callback_body(connection: Connection, callback_id: int) -> bytes | None:
    """The bytes of a stored notification; None if there is none of that id."""
    found = connection.execute(select(callbacks.c.body).where(callbacks.c.id == callback_id))
    return found.scalar_one_or_none()


def refused_callback_rows(connection: Connection) -> list[dict[str, Any]]:
    """How many notifications were not taken, by account and cause."""
    rows = connection.execute(
        select(refused_callbacks).order_by(refused_callbacks.c.last_at.desc())
    )
    return [dict(row._mapping) for row in rows]
