"""What a transaction writes, gathered until it reads again or ends.

Rows that many decisions write into one table become one statement for all of them. Nobody sees a
difference: whatever is executed on the connection executes what was gathered first.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, Final

from sqlalchemy import Connection, Table

from worker.ledger.bulk import find_by_index, insert_rows, update_rows

_GATHERED: Final = "refundry_gathered"

Key = tuple[tuple[str, Any], ...]


class Gathered:
    """Rows to be written: updates of locked rows first, then what is only added."""

    def __init__(self) -> None:
        self._updates: dict[tuple[Table, Key], dict[str, Any]] = {}
        self._inserts: list[tuple[Table, Mapping[str, Any]]] = []
        self._finds_by_index = False

    def update(self, table: Table, key: Key, values: Mapping[str, Any]) -> None:
        """Columns of one row; what was said of them before is overruled."""
        self._updates.setdefault((table, key), {}).update(values)

    def insert(self, table: Table, values: Mapping[str, Any]) -> None:
        """A new row."""
        self._inserts.append((table, values))

    def write(self, connection: Connection) -> None:
        """Execute it all."""
        if not self._updates and not self._inserts:
            return
        updates, inserts = self._updates, self._inserts
        self._updates, self._inserts = {}, []
        self._update_all(connection, updates)
        _insert_all(connection, inserts)

    def _update_all(
        self, connection: Connection, updates: Mapping[tuple[Table, Key], dict[str, Any]]
    ) -> None:
        lots: dict[tuple[Table, tuple[str, ...], frozenset[str]], list[dict[str, Any]]] = {}
        for (table, key), values in updates.items():
            keys = {f"key_{name}": value for name, value in key}
            alike = table, tuple(name for name, _ in key), frozenset(values)
            lots.setdefault(alike, []).append(keys | values)
        if not self._finds_by_index and any(len(rows) > 1 for rows in lots.values()):
            find_by_index(connection)
            self._finds_by_index = True
        for (table, names, _), rows in lots.items():
            update_rows(connection, table, names, rows)


def _insert_all(connection: Connection, inserts: Iterable[tuple[Table, Mapping[str, Any]]]) -> None:
    lots: dict[tuple[Table, frozenset[str]], list[dict[str, Any]]] = {}
    for table, row in inserts:
        lots.setdefault((table, frozenset(row)), []).append(dict(row))
    for (table, _), rows in lots.items():
        insert_rows(connection, table, rows)


@contextmanager
def gathering(connection: Connection) -> Iterator[None]:
    """Gather what is written in the block; at its end it is written and committed."""
    info = connection.info
    gathered = info[_GATHERED] = Gathered()
    try:
        with ExitStack() as pipeline, connection.begin():
            yield
            pipeline.enter_context(_pipeline_of(connection))
            gathered.write(connection)
    finally:
        info.pop(_GATHERED, None)


def _pipeline_of(connection: Connection) -> AbstractContextManager[Any]:
    """What is written in it is sent with its commit and answered once, on PostgreSQL.

    The first statement that fails is raised by the commit, if not before. The server skips all that
    is behind it, the commit among them.
    """
    if connection.dialect.name != "postgresql":
        return nullcontext()
    driver: Any = connection.connection.driver_connection
    pipeline: AbstractContextManager[Any] = driver.pipeline()
    return pipeline


def write_gathered(connection: Connection, *_: Any) -> None:
    """Before anything else is executed: it may read what was written."""
    gathered = connection.info.get(_GATHERED)
    if gathered is not None:
        gathered.write(connection)


def update_row(
    connection: Connection, table: Table, key: Mapping[str, Any], values: Mapping[str, Any]
) -> None:
    """Write columns of the row of that key, which is locked."""
    gathered: Gathered = connection.info[_GATHERED]
    gathered.update(table, tuple(key.items()), values)


def insert_row(connection: Connection, table: Table, values: Mapping[str, Any]) -> None:
    """Add a row, of which nobody needs to know the number."""
    gathered: Gathered = connection.info[_GATHERED]
    gathered.insert(table, values)
