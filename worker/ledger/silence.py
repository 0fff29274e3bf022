"""Ends sessions that fell silent in the midst of sending, which PostgreSQL waits for without end.

Its ``idle_in_transaction_session_timeout`` counts from the answer to a statement. What is sent
together is answered together: of a process that is stopped (SIGSTOP, a frozen container) when a
part of that has left it, the session is "active", waits for the client, and keeps its rows.
"""

from typing import Final

import structlog
from sqlalchemy import Connection, text

_log = structlog.get_logger(__name__)

#: Of this program, role and database, and only such as have written or locked something. It takes
#: no privilege: a role may end its own sessions.
_END: Final = text("""
    SELECT pid, pg_terminate_backend(pid) AS ended
    FROM pg_stat_activity
    WHERE datname = current_database() AND usename = current_user
      AND application_name = current_setting('application_name')
      AND backend_xid IS NOT NULL
      AND state = 'active' AND wait_event IN ('ClientRead', 'ClientWrite')
      AND state_change < clock_timestamp() - :silent_ms * interval '1 ms'
""")


def end_silent_sessions(connection: Connection, silent_ms: int) -> None:
    """End those that have been silent for so many milliseconds; their transactions are undone."""
    if connection.dialect.name != "postgresql":
        return
    for row in connection.execute(_END, {"silent_ms": silent_ms}):
        _log.warning("ledger.silent_session_ended", pid=row.pid, ended=row.ended)
