"""Counts the work that a process does: statements, commits, Redis round trips, each by its kind."""

import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import redis.connection
from sqlalchemy import Connection, Engine, event

#: The verb of a statement, and the first table that it reads or writes.
_VERB: Final = re.compile(r"\s*(\w+)")
_TABLE: Final = re.compile(r"\b(?:FROM|INTO|UPDATE)\s+([a-z_]+)")
_LOCKS: Final = re.compile(r"\bFOR (NO KEY )?UPDATE\b")
#: The name of each command in what is sent to Redis.
_COMMAND: Final = re.compile(rb"\*\d+\r\n\$\d+\r\n([A-Za-z]+)\r\n")


class WorkCounter:
    """Counts from when it is made, in all threads, but not while it is told to look away."""

    def __init__(self, engine: Engine) -> None:
        self.counts: Counter[str] = Counter()
        self._away = threading.local()
        self._lock = threading.Lock()
        event.listen(engine, "before_cursor_execute", self._statement)
        event.listen(engine, "commit", self._commit)
        event.listen(engine, "rollback", self._rollback)
        self._watch_redis()

    @contextmanager
    def looking_away(self) -> Iterator[None]:
        """What this thread does in the block is not the service's work."""
        self._away.now = True
        try:
            yield
        finally:
            self._away.now = False

    def note(self, kind: str, times: int = 1) -> None:
        """Count something else."""
        if not getattr(self._away, "now", False):
            with self._lock:
                self.counts[kind] += times

    def _statement(self, connection: Connection, _: Any, statement: str, *_more: Any) -> None:
        kind = kind_of(statement)
        if kind.split()[1] != "read":
            connection.info["wrote"] = True
        self.note(kind)

    def _commit(self, connection: Connection) -> None:
        wrote = connection.info.pop("wrote", False)
        self.note("commit" if wrote else "commit of a read")

    def _rollback(self, connection: Connection) -> None:
        connection.info.pop("wrote", None)
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            self.note("rollback")

    def _watch_redis(self) -> None:
        """Everything that redis-py sends goes through one method; a pipeline is one round trip."""
        connections: Any = redis.connection.AbstractConnection
        counter, send = self, connections.send_packed_command

        def counted(connection: Any, command: Any, *args: Any, **kwargs: Any) -> Any:
            counter.note(f"redis {commands_in(command)}")
            return send(connection, command, *args, **kwargs)

        connections.send_packed_command = counted


def kind_of(statement: str) -> str:
    """``sql lock orders``, ``sql insert events``, ``sql read the time``."""
    verb, table = _VERB.match(statement), _TABLE.search(statement)
    said = verb.group(1).lower() if verb else "nothing"
    if said == "select":
        said = "lock" if _LOCKS.search(statement) else "read"
    return f"sql {said} {table.group(1) if table else 'the time'}"


def commands_in(packed: Any) -> str:
    """The names of the commands that are sent together."""
    data = packed if isinstance(packed, bytes) else b"".join(packed)
    return " ".join(name.decode().upper() for name in _COMMAND.findall(data))
