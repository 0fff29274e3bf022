"""Numbers every durable or outward effect of a process, and ends the process at one of them.

It listens below the product's code: at the DBAPI's commit, at redis-py's connections (which carry
Celery's messages too), at ``http.client``, and at the gate before a call's first byte. A new commit
or call is numbered without anybody telling.
"""

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any, Final, Literal

from redis.connection import AbstractConnection
from sqlalchemy import Connection, Engine, event

from worker.providers.sockets import Budget

#: What a process that was ended at its point exits with.
CRASHED: Final = 86
#: Commands that change nothing which another process could see.
_HARMLESS: Final = frozenset(
    {
        *("HELLO", "CLIENT", "SELECT", "AUTH", "PING", "INFO", "COMMAND", "WATCH", "UNWATCH"),
        *("GET", "HGET", "HMGET", "HGETALL", "TTL", "PTTL", "EXISTS", "LRANGE", "LLEN", "KEYS"),
        *("SMEMBERS", "SISMEMBER", "MULTI", "EXEC"),
    }
)
#: Statements that leave nothing behind.
_READS: Final = re.compile(r"\s*(SELECT|BEGIN|PRAGMA|SET|SHOW)\b", re.IGNORECASE)
_WRITES: Final = re.compile(r"\b(INSERT INTO|UPDATE|DELETE FROM) (\w+)")

Side = Literal["before", "after"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """Where a process ends, or stops until it is told to go on."""

    #: Of the effect, from 1; 0 where the first that begins with ``label`` is meant.
    number: int
    side: Side = "before"
    label: str = ""
    stops: bool = False

    def is_at(self, number: int, side: Side, label: str) -> bool:
        """Whether this is it."""
        if side != self.side:
            return False
        return label.startswith(self.label) if self.label else number == self.number


class Effects:
    """The effects of this process, in order, and the point that it does not get past."""

    def __init__(self, point: Point | None, leave: Callable[[str], None]) -> None:
        self.seen: list[str] = []
        self._point = point
        #: Tells the parent at which effect this process has come to its point.
        self._leave = leave
        self._counting = threading.RLock()

    def begin(self, label: str) -> int:
        """An effect is about to take place; its number."""
        with self._counting:
            self.seen.append(label)
            number = len(self.seen)
            self._come_to(number, "before")
        return number

    def end(self, number: int) -> None:
        """It has taken place."""
        with self._counting:
            self._come_to(number, "after")

    def _come_to(self, number: int, side: Side) -> None:
        point, label = self._point, self.seen[number - 1]
        if point is None or not point.is_at(number, side, label):
            return
        self._leave(label)
        if not point.stops:
            os._exit(CRASHED)
        # To this thread: another one would be stopped while this one runs on for a moment.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def watch(effects: Effects, engine: Engine) -> None:
    """Number this process's effects from now on."""
    _watch_commits(effects, engine)
    _watch_redis(effects)
    _watch_http(effects)


def _watch_commits(effects: Effects, engine: Engine) -> None:
    """A transaction that wrote nothing leaves nothing behind."""
    dialect: Any = engine.dialect
    commit = dialect.do_commit

    def note(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if not _READS.match(statement):
            found = _WRITES.search(statement)
            wrote = f"{found[1].split()[0].lower()} {found[2]}" if found else statement[:40]
            connection.connection.info.setdefault("wrote", []).append(wrote)

    def forget(connection: Connection) -> None:
        connection.connection.info.pop("wrote", None)

    def numbered(connection: Any) -> None:
        wrote = connection.info.pop("wrote", None)
        if not wrote:
            commit(connection)
            return
        number = effects.begin(f"commit: {', '.join(wrote)}")
        commit(connection)
        effects.end(number)

    event.listen(engine, "before_cursor_execute", note)
    event.listen(engine, "rollback", forget)
    dialect.do_commit = numbered


def _watch_redis(effects: Effects) -> None:
    patched: Any = AbstractConnection
    send, read = patched.send_packed_command, patched.read_response

    def numbered_send(self: Any, command: Any, *args: Any, **kwargs: Any) -> None:
        commands = list(_commands(command))
        changing = [words for words in commands if words[0] not in _HARMLESS]
        if not changing:
            send(self, command, *args, **kwargs)
            return
        number = effects.begin("redis: " + ", ".join(_said(words) for words in changing))
        send(self, command, *args, **kwargs)
        self._numbered = [number, len(commands)]

    def numbered_read(self: Any, *args: Any, **kwargs: Any) -> Any:
        open_effect, response = getattr(self, "_numbered", None), None
        try:
            response = read(self, *args, **kwargs)
        finally:
            if open_effect:
                open_effect[1] -= 1
                if not open_effect[1]:
                    self._numbered = None
                    effects.end(open_effect[0])
        return response

    patched.send_packed_command, patched.read_response = numbered_send, numbered_read


def _watch_http(effects: Effects) -> None:
    gate, send, answer = Budget.open_gate, HTTPConnection.send, HTTPConnection.getresponse

    def numbered_gate(self: Any) -> None:
        number = effects.begin("gate")
        try:
            gate(self)
        finally:
            effects.end(number)

    def numbered_send(self: Any, data: Any) -> None:
        text = bytes(data)
        head = text.startswith(b"POST ") and text.split()[1].partition(b"?")[0].decode()
        self._asked = head or getattr(self, "_asked", "?")
        number = effects.begin(f"send: {'head' if head else 'body'} to {self._asked}")
        try:
            send(self, data)
        finally:
            effects.end(number)

    def numbered_answer(self: Any) -> Any:
        number = effects.begin(f"answer: of {self._asked}")
        try:
            return answer(self)
        finally:
            effects.end(number)

    patched: Any = HTTPConnection
    patched.send, patched.getresponse = numbered_send, numbered_answer
    budget: Any = Budget
    budget.open_gate = numbered_gate


def _commands(packed: Any) -> Iterator[list[str]]:
    """The commands of a packed message of redis-py, each with its words."""
    parts = [packed] if isinstance(packed, bytes | str) else list(packed)
    data = b"".join(part.encode() if isinstance(part, str) else bytes(part) for part in parts)
    while data:
        head, _, data = data.partition(b"\r\n")
        words = []
        for _ in range(int(head[1:])):
            size, _, data = data.partition(b"\r\n")
            length = int(size[1:])
            words.append(data[:length].decode(errors="replace"))
            data = data[length + 2 :]
        words[0] = words[0].upper()
        yield words


def _said(words: list[str]) -> str:
    """A command and what it is about; of a script its key."""
    key = words[3] if words[0] in ("EVALSHA", "EVAL") and len(words) > 3 else "".join(words[1:2])
    return f"{words[0]} {key[:60]}"
