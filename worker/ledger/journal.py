"""Queries on what is only added: events, cases, their entries, announcements, refused jobs."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, select, text, update

from refundry import Event, State
from worker.case_rules import Deed, due_by
from worker.ledger.tables import (
    announcements,
    case_entries,
    cases,
    events,
    refunds,
    refused_jobs,
)
from worker.ledger.types import insert_into
from worker.ledger.writes import insert_row
from worker.refund import Case

#: Who owns a case until a person takes it.
FIRST_OWNER: Final = "operations"
#: Who opens it, where no person does.
OURSELVES: Final = "refundry"
#: What is kept of what a case is about, in characters.
MAX_SUBJECT: Final = 128
_UNSTORABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
#: What is kept of a refused job, in characters of its JSON text.
MAX_JOB_TEXT: Final = 4000
#: What is kept and told of why, in characters.
MAX_REASON: Final = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Announcement:
    """One announcement that is to be delivered."""

    id: int
    refund_id: int | None
    target: dict[str, Any]
    payload: dict[str, Any]
    tries: int
    created_at: datetime


_ANNOUNCEMENT_FIELDS: Final = tuple(field.name for field in fields(Announcement))


def append_event(
    connection: Connection,
    refund_id: int,
    seq: int,
    state: State,
    kind: str,
    attempt: int,
    detail: dict[str, Any],
    at: datetime,
) -> None:
    """Append the event that a change of a refund's row stands on."""
    event = {"refund_id": refund_id, "seq": seq, "state": state, "kind": kind}
    insert_row(connection, events, event | {"attempt": attempt, "detail": detail, "at": at})


def open_case(
    connection: Connection, refund_id: int, kind: Case, evidence: dict[str, Any], now: datetime
) -> bool:
    """Open a case of a refund; False if one of this kind is open already."""
    refund = select(refunds.c.account, refunds.c.refund_no, refunds.c.order_id)
    about = connection.execute(refund.where(refunds.c.id == refund_id)).one()
    return open_case_about(
        connection,
        about.account,
        kind,
        about.refund_no,
        evidence,
        now,
        order_id=about.order_id,
        refund_id=refund_id,
    )


def open_case_about(
    connection: Connection,
    account: str,
    kind: Case,
    subject: str,
    evidence: dict[str, Any],
    now: datetime,
    *,
    order_id: int | None = None,
    refund_id: int | None = None,
) -> bool:
    """Open a case of what need not be a refund; False if one of this kind is open already.

    ``subject`` says what it is about, for people: a number of the refund, the order, or of a line
    of a statement; what is longer than the column is cut.
    """
    row = case_row(account, kind, subject, evidence, now, order_id=order_id, refund_id=refund_id)
    opened = connection.execute(
        insert_into(connection, cases).values(row).on_conflict_do_nothing().returning(cases.c.id)
    )
    case_id = opened.scalar()
    if case_id is None:
        return False
    add_entry(connection, case_id, Deed.OPENED, OURSELVES, now)
    return True


def case_row(
    account: str,
    kind: Case,
    subject: str,
    evidence: dict[str, Any],
    now: datetime,
    *,
    order_id: int | None,
    refund_id: int | None,
) -> dict[str, Any]:
    """The row of a case that nobody has taken yet."""
    return {
        "account": account,
        "kind": kind,
        "subject": storable(subject)[:MAX_SUBJECT],
        "order_id": order_id,
        "refund_id": refund_id,
        "owner": FIRST_OWNER,
        "opened_at": now,
        "due_at": due_by(kind, now),
        "evidence": evidence,
    }


def add_entry(
    connection: Connection,
    case_id: int,
    what: Deed,
    who: str,
    at: datetime,
    reason: str = "",
    detail: dict[str, Any] | None = None,
) -> None:
    """Write down what somebody did about a case."""
    entry = {"case_id": case_id, "what": what, "who": who, "at": at}
    insert_row(connection, case_entries, entry | {"reason": reason, "detail": detail or {}})


def has_open_case(connection: Connection, refund_id: int) -> bool:
    """Whether a person has still to look at this refund."""
    found = connection.execute(
        select(cases.c.id).where(cases.c.refund_id == refund_id, text("closed_at IS NULL"))
    )
    return found.first() is not None


def add_announcement(
    connection: Connection,
    refund_id: int | None,
    event: Event,
    target: dict[str, Any],
    payload: dict[str, Any],
    now: datetime,
) -> None:
    """Note what is to be told, in the transaction that makes it true."""
    told = {"refund_id": refund_id, "event": event, "target": target, "payload": payload}
    insert_row(connection, announcements, told | {"created_at": now, "due_at": now})


def due_announcements(
    connection: Connection,
    now: datetime,
    limit: int,
    *,
    by_url: bool,
    but_not: Iterable[str] = (),
) -> list[Announcement]:
    """Due announcements by task or by URL, the oldest of each refund only, locked for a claim.

    ``but_not`` are beginnings of URLs that are left out.
    """
    url = announcements.c.target["url"].as_string()
    earlier = announcements.alias()
    not_first = (
        select(earlier.c.id)
        .where(
            earlier.c.refund_id == announcements.c.refund_id,
            earlier.c.id < announcements.c.id,
            earlier.c.delivered_at.is_(None),
        )
        .exists()
    )
    rows = connection.execute(
        select(announcements)
        .where(
            announcements.c.delivered_at.is_(None),
            announcements.c.due_at <= now,
            url.is_not(None) if by_url else url.is_(None),
            *(~url.istartswith(start, autoescape=True) for start in but_not),
            ~not_first,
        )
        .order_by(announcements.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [
        Announcement(**{name: getattr(row, name) for name in _ANNOUNCEMENT_FIELDS}) for row in rows
    ]


def put_announcements_off(connection: Connection, ids: Iterable[int], until: datetime) -> None:
    """These are not due before ``until``: somebody is at work on them, or was not."""
    connection.execute(
        update(announcements).where(announcements.c.id.in_(list(ids))).values(due_at=until)
    )


def announced(connection: Connection, ids: list[int], now: datetime) -> None:
    """These announcements were delivered."""
    connection.execute(
        update(announcements).where(announcements.c.id.in_(ids)).values(delivered_at=now)
    )


def announce_later(connection: Connection, announcement_id: int, due_at: datetime) -> None:
    """This announcement was not taken; try again at ``due_at``."""
    connection.execute(
        update(announcements)
        .where(announcements.c.id == announcement_id)
        .values(due_at=due_at, tries=announcements.c.tries + 1)
    )


def record_refused_job(
    connection: Connection, task: str, job: object, code: str, reason: str, now: datetime
) -> None:
    """Keep a refused job; the same job refused again for the same cause is counted, not copied."""
    body, task, reason = _job_text(job), storable(task), short_reason(reason)
    named = job if isinstance(job, dict) else {}
    connection.execute(
        insert_into(connection, refused_jobs)
        .values(
            digest=hashlib.sha256(f"{task}\n{body}".encode()).hexdigest(),
            task=task,
            account=_short_text(named.get("account")),
            refund_no=_short_text(named.get("refund_no")),
            code=code,
            reason=reason,
            job=body[:MAX_JOB_TEXT],
            first_at=now,
            last_at=now,
        )
        .on_conflict_do_update(
            index_elements=["digest", "code"],
            set_={"times": refused_jobs.c.times + 1, "last_at": now, "reason": reason},
        )
    )


def storable(text: str) -> str:
    """The text without what a database refuses or a reader trips over."""
    return _UNSTORABLE.sub("?", text)


def short_reason(reason: str) -> str:
    """A refusal's sentences as they are kept and told: what is wrong may be without end."""
    text = storable(reason)
    return text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]}…"


def _job_text(job: object) -> str:
    """A job as JSON; one that cannot even be written as JSON is kept by its kind."""
    try:
        return json.dumps(job, sort_keys=True, default=repr)
    except (RecursionError, ValueError, TypeError):
        return json.dumps(f"a {type(job).__name__} that cannot be written as JSON")


def _short_text(value: object) -> str | None:
    return storable(value[:64]) if isinstance(value, str) else None
