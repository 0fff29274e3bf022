"""Queries on what stops an account, and who has stopped it: nothing is without a word."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, or_, select, update

from worker.case_rules import AccountDeed
from worker.ledger.journal import OURSELVES
from worker.ledger.query_first import wake_queued
from worker.ledger.tables import account_entries, accounts
from worker.ledger.writes import insert_row


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """Who does something about an account, and why; the processor itself if nobody is named."""

    reason: str
    who: str = OURSELVES
    #: Which rule, of which refund; or whose login, where that is another name.
    detail: dict[str, Any] = field(default_factory=dict)


def add_account_entry(
    connection: Connection, account: str, what: AccountDeed, word: Word, at: datetime
) -> None:
    """Write down what was done about an account."""
    entry = {"account": account, "what": what, "at": at}
    said = {"who": word.who, "reason": word.reason, "detail": word.detail}
    insert_row(connection, account_entries, entry | said)


def entries_of_account(connection: Connection, account: str, limit: int) -> list[dict[str, Any]]:
    """What was done about an account, the latest first."""
    shown = (account_entries.c[name] for name in ("at", "who", "what", "reason", "detail"))
    query = select(*shown).where(account_entries.c.account == account)
    rows = connection.execute(query.order_by(account_entries.c.id.desc()).limit(limit))
    return [dict(row._mapping) for row in rows]


def pause_account(connection: Connection, name: str, word: Word, now: datetime) -> bool:
    """Stop sending for an account; False if it was paused already or is not there."""
    if not lock_account(connection, name, accounts.c.paused_at.is_(None)):
        return False
    add_account_entry(connection, name, AccountDeed.PAUSED, word, now)
    paused = update(accounts).where(accounts.c.name == name)
    connection.execute(paused.values(paused_at=now, paused_reason=word.reason))
    return True


def resume_account(connection: Connection, name: str, word: Word, now: datetime) -> bool:
    """Send again for an account, and wake its orders; False if it was not stopped.

    An open breaker is closed. Orders first: a decision that pauses its account holds the order
    already.
    """
    wake_queued(connection, name, now)
    stopped = or_(accounts.c.paused_at.is_not(None), accounts.c.breaker_until.is_not(None))
    if not lock_account(connection, name, stopped):
        return False
    add_account_entry(connection, name, AccountDeed.RESUMED, word, now)
    free = {"paused_at": None, "paused_reason": None, "failures": 0, "breaker_until": None}
    connection.execute(update(accounts).where(accounts.c.name == name).values(free))
    return True


def lock_account(connection: Connection, name: str, *wanted: ColumnElement[bool]) -> bool:
    """Lock an account's row if it is as wanted; intake may go on referring to it."""
    found = select(accounts.c.name).where(accounts.c.name == name, *wanted)
    return connection.execute(found.with_for_update(key_share=True)).first() is not None
