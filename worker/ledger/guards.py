"""What an account's row says of all its refunds, and the time, read in one go."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, func, select

from worker.ledger.rows import Breaker
from worker.ledger.tables import accounts
from worker.ledger.types import is_one_of

#: How long a lot waits for what somebody has locked; whoever works alone is more patient.
LOT_WAIT_MS: Final = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Guards:
    """What may keep an account's refunds from being sent."""

    paused: bool
    breaker: Breaker
    query_first_since: datetime | None


#: Of an account that nothing was ever said of.
NO_GUARDS: Final = Guards(paused=False, breaker=Breaker(), query_first_since=None)


def guards_of(
    connection: Connection,
    time: ColumnElement[datetime],
    names: Iterable[str],
    *,
    patient: bool,
) -> tuple[datetime, dict[str, Guards]]:
    """The ledger's time and the accounts' guards; not ``patient``: no lock is waited for long."""
    bounded = not patient and connection.dialect.name == "postgresql"
    rows = connection.execute(_guards(time, bounded), {"names": list(names)}).all()
    found = {
        row.name: Guards(
            paused=row.paused_at is not None,
            breaker=Breaker(failures=row.failures, until=row.breaker_until),
            query_first_since=row.query_first_since,
        )
        for row in rows
        if row.name is not None
    }
    return rows[0].now, found


@cache
def _guards(time: ColumnElement[datetime], bounded: bool) -> Select[Any]:
    """At least one row: the time is there without any account."""
    columns: list[Any] = [time.label("now")]
    if bounded:
        columns.append(func.set_config("lock_timeout", f"{LOT_WAIT_MS}ms", True))
    clock = select(*columns).subquery()
    wanted = is_one_of(accounts.c.name, "names")
    return select(clock.c.now, accounts).select_from(clock.outerjoin(accounts, wanted))
