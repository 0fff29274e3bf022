"""The connection to the ledger: one engine a process, write and read transactions, the clock."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, Protocol, cast

import structlog
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    ExceptionContext,
    bindparam,
    create_engine,
    event,
    func,
    literal_column,
    make_url,
    select,
)
from sqlalchemy.exc import DBAPIError, InterfaceError, NoResultFound, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from worker.errors import LostCommits, RowsLocked, ServiceAway
from worker.ledger.cursor import SparingCursor
from worker.ledger.silence import end_silent_sessions
from worker.ledger.types import UtcTime
from worker.ledger.writes import gathering, write_gathered

_log = structlog.get_logger(__name__)

#: SQLite has one writer at a time; this is how long a second one waits, in seconds.
SQLITE_WAIT_S: Final = 30
#: Codes for a database that is there but cannot be worked with now. PostgreSQL: read-only, no such
#: table or column (not migrated yet). SQLite: not a database, damaged.
_AWAY_STATES: Final = frozenset({"25006", "42P01", "42703", "SQLITE_NOTADB", "SQLITE_CORRUPT"})
#: PostgreSQL: ``lock_timeout`` has passed.
_LOCKED: Final = "55P03"
#: PostgreSQL: the role lacks a privilege.
_FORBIDDEN: Final = "42501"
#: PostgreSQL: a process that is stopped, or whose host is gone, in the midst of a transaction keeps
#: its rows from all others for so long, in milliseconds; the server then undoes the transaction.
IDLE_IN_TRANSACTION_MS = 10_000
#: A lock is waited for a little longer, in milliseconds, unless the database has a bound of its
#: own: whoever waits in vain ends what the server does not, and gives its thread to others.
LOCK_WAIT_MS = 12_000
#: A server that is cut off, or whose host is gone, says nothing: its connections are given up after
#: so many seconds, instead of the quarter of an hour that TCP takes by itself. libpq's names.
_CONNECT: Final = {
    "fallback_application_name": "refundry",
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 15_000,
}
#: What is only read needs no BEGIN and no COMMIT, each of them a round trip, where a transaction
#: shows each statement what was committed meanwhile.
_READING: Final[dict[str, dict[str, Any]]] = {
    "postgresql": {"isolation_level": "AUTOCOMMIT"},
    "sqlite": {},
}
#: What is read by several statements, as it was at one moment.
_AT_ONE_MOMENT: Final[dict[str, dict[str, Any]]] = {
    "postgresql": {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
    "sqlite": {},
}
#: Connections a process may hold: its threads, and a few for ticks.
POOL_SIZE: Final = 40


class Clock(Protocol):
    """The time that the ledger goes by, as an SQL expression."""

    def expression(self, dialect: str) -> ColumnElement[datetime]:
        """An expression of type :class:`UtcTime`."""


class DatabaseClock:
    """The database's own clock, read when the statement runs, not when its transaction began."""

    def expression(self, dialect: str) -> ColumnElement[datetime]:
        if dialect == "postgresql":
            return func.clock_timestamp(type_=UtcTime())
        return literal_column("strftime('%Y-%m-%d %H:%M:%f000', 'now')", UtcTime())


class FixedClock:
    """A clock that somebody sets; for tests."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def expression(self, dialect: str) -> ColumnElement[datetime]:
        return bindparam("fixed_now", callable_=lambda: self.now, type_=UtcTime())


class Ledger:
    """Opens transactions. A write transaction on SQLite takes the writer's place at once."""

    def __init__(self, engine: Engine, clock: Clock | None = None) -> None:
        self.engine = engine
        #: The ledger's time, to be selected beside something else.
        self.time = (clock or DatabaseClock()).expression(engine.dialect.name)
        self._now = select(self.time)
        reading = engine.execution_options(refundry_read=True)
        self._reading = reading.execution_options(**_READING[engine.dialect.name])
        self._at_one_moment = reading.execution_options(**_AT_ONE_MOMENT[engine.dialect.name])
        if not event.contains(engine, "before_execute", write_gathered):
            event.listen(engine, "before_execute", write_gathered)

    def now(self, connection: Connection) -> datetime:
        """The ledger's time."""
        return connection.execute(self._now).scalar_one()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits at the end of the block.

        Raises:
            ServiceAway: the database does not answer; whether a commit took place is unknown.
            RowsLocked: somebody has kept a row for too long; nothing was written.
            LostCommits: a row that has to be there is not.
        """
        try:
            with _away(), self.engine.connect() as connection, gathering(connection):
                yield connection
        except RowsLocked:
            self.end_silent_sessions()
            raise

    def end_silent_sessions(self) -> None:
        """End those that the server waits for in the midst of what they send; ServiceAway."""
        with self.read() as connection:
            end_silent_sessions(connection, IDLE_IN_TRANSACTION_MS)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """To read only; the same errors. Each statement sees what was committed before it."""
        with _away(), self._reading.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """To read only; the same errors. All statements see what the first one has seen."""
        with _away(), self._at_one_moment.connect() as connection:
            yield connection


@contextmanager
def _away() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        if _code(error) == _LOCKED:
            raise RowsLocked(f"the database waited too long: {error.orig}") from error
        raise ServiceAway(f"the database does not answer: {error.orig}") from error
    except PoolTimeout as error:  # a database that hangs keeps what others would work with
        raise ServiceAway("the database does not answer: every connection is in use") from error
    except NoResultFound as error:
        raise LostCommits("the ledger has not what was committed to it: an older one?") from error
    except DBAPIError as error:
        if _code(error) == _FORBIDDEN:  # no refund fails for it; it mends itself never
            _log.error("ledger.forbidden", error=str(error.orig))
            raise ServiceAway(
                f"the database forbids it: {error.orig}; grant what `refundry db roles` prints"
            ) from error
        if error.connection_invalidated or _code(error) in _AWAY_STATES:
            raise ServiceAway(f"the database cannot be used: {error.orig}") from error
        raise


def _code(error: DBAPIError) -> str:
    names = ("sqlstate", "sqlite_errorname")
    return next((code for name in names if (code := getattr(error.orig, name, None))), "")


def create_ledger_engine(url: str) -> Engine:
    """An engine for ``url``: SQLite (WAL, full sync, foreign keys) or PostgreSQL (psycopg 3).

    Its errors do not show a statement's values, which may be personal data.
    """
    if make_url(url).get_backend_name() == "sqlite":
        return _sqlite_engine(url)
    engine = create_engine(
        url,
        pool_size=POOL_SIZE,
        max_overflow=10,
        pool_use_lifo=True,  # the latest used one has its statements prepared
        connect_args={**_CONNECT, "cursor_factory": SparingCursor},
        hide_parameters=True,
    )
    event.listen(engine, "connect", _set_up_postgresql)
    event.listen(engine, "handle_error", _hide_row)
    return engine


def _set_up_postgresql(connection: Any, _record: Any) -> None:
    connection.execute(f"SET idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_MS}")
    connection.execute(
        f"SELECT set_config('lock_timeout', '{LOCK_WAIT_MS}ms', false)"
        " WHERE current_setting('lock_timeout') = '0'"
    )
    connection.commit()


def _hide_row(context: ExceptionContext) -> None:
    """The lines after PostgreSQL's first show the row that failed, with all that it holds."""
    for error in (context.original_exception, context.sqlalchemy_exception):
        if error is not None and error.args:
            error.args = (str(error.args[0]).partition("\n")[0],)


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(
        url,
        pool_size=POOL_SIZE,
        max_overflow=10,
        connect_args={"timeout": SQLITE_WAIT_S, "check_same_thread": False},
        hide_parameters=True,
    )
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's begin event below speaks for itself
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    reads = cast(dict[str, Any], connection.get_execution_options()).get("refundry_read")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
