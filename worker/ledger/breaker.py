"""Queries on an account's breaker. Each write is a compare-and-set on the time that was seen.

So a call speaks only for the breaker that let it go: an answer, or none, that comes late moves no
breaker that has opened or gone on trial meanwhile.
"""

from datetime import datetime

from sqlalchemy import Connection, and_, case, or_, update

from worker.ledger.rows import Breaker
from worker.ledger.tables import accounts


def take_trial(connection: Connection, account: str, seen: datetime, until: datetime) -> bool:
    """Move a breaker that has run out on to ``until``; False if another was first."""
    done = connection.execute(
        update(accounts)
        .where(accounts.c.name == account, accounts.c.breaker_until == seen)
        .values(breaker_until=until)
    )
    return done.rowcount > 0


def count_failure(
    connection: Connection, account: str, seen: datetime | None, most: int, until: datetime
) -> Breaker | None:
    """Count a call without an answer; the breaker afterwards, None if the call came too late.

    The ``most``-th in a row opens it until ``until``, and so does a trial.
    """
    opens = or_(accounts.c.breaker_until.is_not(None), accounts.c.failures + 1 >= most)
    row = connection.execute(
        update(accounts)
        .where(and_(accounts.c.name == account, accounts.c.breaker_until == seen))
        .values(failures=accounts.c.failures + 1, breaker_until=case((opens, until)))
        .returning(accounts.c.failures, accounts.c.breaker_until)
    ).first()
    return Breaker(failures=row.failures, until=row.breaker_until) if row else None


def close_breaker(connection: Connection, account: str, seen: datetime | None) -> bool:
    """Forget the failures; False if the call came too late."""
    done = connection.execute(
        update(accounts)
        .where(accounts.c.name == account, accounts.c.breaker_until == seen)
        .values(failures=0, breaker_until=None)
    )
    return done.rowcount > 0
