"""Many rows of one table by one statement, whose text is the same for any number of them.

PostgreSQL is given the rows as one JSON text. It then reads a table's CHECKs and the conditions of
its triggers once instead of once a row, which is most of what a row costs there, and the driver has
one parameter instead of one a column and row.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final

import orjson
from sqlalchemy import Connection, Dialect, Row, Table, Update, bindparam, update
from sqlalchemy.dialects import postgresql

from worker.ledger.types import insert_into

_DIALECT: Final[Dialect] = postgresql.dialect()  # type: ignore[no-untyped-call]
_BY_INDEX: Final = (
    "SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),"
    " set_config('enable_mergejoin', 'off', true)"
)


def insert_rows(
    connection: Connection,
    table: Table,
    rows: Sequence[dict[str, Any]],
    *,
    returning: tuple[str, ...] = (),
    unless: tuple[str, ...] = (),
) -> Sequence[Row[Any]]:
    """Insert rows that name the same columns, in their order.

    Args:
        connection: of the transaction.
        table: whose rows they are.
        rows: at least one.
        returning: columns of the inserted rows that are answered.
        unless: columns of a key; a row whose key is there already is left out.
    """
    if connection.dialect.name == "postgresql":
        statement = _from_json(table, _named(table, rows), returning, unless)
        done = connection.exec_driver_sql(statement, _given(rows))
    else:
        done = _one_by_one(connection, table, rows, returning, unless)
    return done.all() if returning else ()


def update_rows(
    connection: Connection, table: Table, keys: tuple[str, ...], rows: Sequence[dict[str, Any]]
) -> None:
    """Write columns of locked rows by their keys; all name the same columns.

    Args:
        connection: of the transaction.
        table: whose rows they are.
        keys: columns of the table's key, which are ``key_…`` in ``rows``.
        rows: at least one.
    """
    if connection.dialect.name != "postgresql" or len(rows) == 1:
        connection.execute(_by_key(table, keys), list(rows))
        return
    connection.exec_driver_sql(_update_from_json(table, keys, _named(table, rows)), _given(rows))


def find_by_index(connection: Connection) -> None:
    """Have rows found by their keys in this transaction from now on, however few there are yet.

    PostgreSQL would scan the whole of a small table, and keep that plan while the table grows.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(_BY_INDEX)


def _one_by_one(
    connection: Connection,
    table: Table,
    rows: Sequence[dict[str, Any]],
    returning: tuple[str, ...],
    unless: tuple[str, ...],
) -> Any:
    statement: Any = insert_into(connection, table)
    if unless:
        statement = statement.on_conflict_do_nothing(index_elements=unless)
    if returning:
        statement = statement.returning(*(table.c[name] for name in returning))
    else:
        statement = statement.inline()
    return connection.execute(statement, list(rows))


@cache
def _from_json(
    table: Table, names: tuple[str, ...], returning: tuple[str, ...], unless: tuple[str, ...]
) -> str:
    columns = ", ".join(names)
    given = _recordset(table, {name: name for name in names})
    parts = [f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM {given}"]
    if unless:
        parts.append(f"ON CONFLICT ({', '.join(unless)}) DO NOTHING")
    if returning:
        parts.append(f"RETURNING {', '.join(returning)}")
    return " ".join(parts)


@cache
def _by_key(table: Table, keys: tuple[str, ...]) -> Update:
    """Of the columns that its rows name."""
    return update(table).where(*(table.c[name] == bindparam(f"key_{name}") for name in keys))


@cache
def _update_from_json(table: Table, keys: tuple[str, ...], names: tuple[str, ...]) -> str:
    found_by = {f"key_{name}": name for name in keys}
    given = _recordset(table, found_by | {name: name for name in names})
    changed = ", ".join(f"{name} = given.{name}" for name in names)
    same = " AND ".join(f"{table.name}.{name} = given.key_{name}" for name in keys)
    return f"UPDATE {table.name} SET {changed} FROM {given} WHERE {same}"


def _named(table: Table, rows: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """The columns that the rows name, in the table's order."""
    return tuple(column.name for column in table.c if column.name in rows[0])


def _recordset(table: Table, columns: dict[str, str]) -> str:
    """What :func:`_given` gives, as a table: each name there, and whose type of ours it has."""
    typed = (f"{name} {table.c[ours].type.compile(_DIALECT)}" for name, ours in columns.items())
    return f"json_to_recordset(CAST(%(rows)s AS json)) AS given ({', '.join(typed)})"


def _given(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    try:
        return {"rows": orjson.dumps(rows).decode()}
    except TypeError:  # a number of more than 64 bits, which a provider's own fields may have
        return {"rows": json.dumps(rows, default=_as_json)}


def _as_json(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"a {type(value).__name__} is no column's value")
