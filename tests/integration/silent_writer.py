"""A process that stops itself when a part of what its transaction writes has left it.

``python -m tests.integration.silent_writer URL ORDER_ID REFUND_ID``
"""

import os
import signal
import sys
from typing import Any

from sqlalchemy import event

from refundry import State
from tests.databases import opened
from worker.ledger.journal import append_event
from worker.ledger.orders import lock_order
from worker.ledger.tables import events

#: More than libpq keeps before it sends, which are 8 KB.
EVENTS, LENGTH = 32, 1000


def main(url: str, order_id: int, refund_id: int) -> None:
    with opened(url) as ledger, ledger.write() as connection:
        event.listen(connection, "after_cursor_execute", stop_behind_events)
        lock_order(connection, order_id)
        now = ledger.now(connection)
        for seq in range(2, 2 + EVENTS):
            detail = {"said": "x" * LENGTH}
            append_event(connection, refund_id, seq, State.QUEUED, "noted", 0, detail, now)


def stop_behind_events(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
    if statement.startswith(f"INSERT INTO {events.name}"):
        os.kill(os.getpid(), signal.SIGSTOP)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
