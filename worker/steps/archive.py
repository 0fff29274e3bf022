"""Archive: events and attempts of refunds that nobody expects anything of leave the hot tables.

A batch is one transaction: copy, note the digest of every refund's lot, delete what the archive
has. Killed anywhere, it has happened or it has not. Nobody waits for it, and it waits for nobody.
"""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from worker.archive import lot_digest
from worker.ledger import archive as ledger_of
from worker.runtime import Runtime

#: Refunds that one transaction takes: SQLite's one writer is kept for some tens of milliseconds.
BATCH: Final = 100
#: A tick works for about so long.
WORK_S: Final = 5.0


def archive_on(runtime: Runtime, older_than: timedelta) -> Iterator[int]:
    """Batch after batch, while they are full; how many refunds each took.

    Raises:
        ServiceAway: the ledger does not answer; what was archived is.
    """
    taken = BATCH
    while taken == BATCH:
        taken = archive(runtime, older_than)
        yield taken


def archive_for_a_while(runtime: Runtime) -> int:
    """What a tick does, where the settings say how old is old; how many refunds."""
    if runtime.hot_for is None:
        return 0
    ends_at, total = time.monotonic() + WORK_S, 0
    for taken in archive_on(runtime, runtime.hot_for):
        total += taken
        if time.monotonic() > ends_at:
            break
    return total


def archive(runtime: Runtime, older_than: timedelta, limit: int = BATCH) -> int:
    """Archive refunds that have been final for so long, at most ``limit``; how many.

    Raises:
        ServiceAway: the ledger does not answer.
    """
    with runtime.ledger.write() as connection:
        now = runtime.ledger.now(connection)
        later = _later(runtime, now, older_than)
        due = ledger_of.lock_archivable(connection, now - older_than, later, limit)
        if due:
            _move(connection, due, now)
    return len(due)


def _later(runtime: Runtime, now: datetime, older_than: timedelta) -> dict[str, datetime]:
    """Accounts that watch a success for longer than that."""
    watched = {name: timedelta(days=line.watch_days) for name, line in runtime.lines.items()}
    return {name: now - wait for name, wait in watched.items() if wait > older_than}


def _move(connection: Connection, due: list[dict[str, Any]], now: datetime) -> None:
    ids = [refund["id"] for refund in due]
    ledger_of.copy_to_archive(connection, ids)
    kept = ledger_of.archived_of(connection, ids)
    ledger_of.seal_lots(connection, [_lot(refund, kept[refund["id"]], now) for refund in due])
    ledger_of.let_go(connection, ids)


def _lot(refund: dict[str, Any], kept: dict[str, Any], now: datetime) -> dict[str, Any]:
    """What the archive did not have of a refund before."""
    before = kept.get("archives", [])[-1:]
    first_attempt = before[0]["last_attempt"] if before else 0
    events = [one for one in kept["archived_events"] if one["seq"] > refund["archived_seq"]]
    attempts = kept.get("archived_attempts", [])
    digest = lot_digest(
        refund["merchant"],
        refund["refund_no"],
        before[0]["digest"] if before else "",
        events,
        [one for one in attempts if one["number"] > first_attempt],
    )
    return {
        "refund_id": refund["id"],
        "last_seq": refund["event_seq"] - 1,
        "last_attempt": refund["attempt"],
        "digest": digest,
        "archived_at": now,
    }
