"""Years of refunds in a ledger: what a real worker wrote, many times over.

The server multiplies the rows of a few refunds and their orders, each copy with ids and numbers of
its own, and COPY moves them: whatever a worker writes today, its copies are as valid.
"""

from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql
from sqlalchemy import Table, make_url

from worker.ledger.tables import attempts, events, orders, refunds

#: Where each stands in a table's column instead of the copied value. ``n`` is the copy's number.
_REFUND_ID: Final = "t.{column} + n * {last_refund}::bigint"
_ORDER_ID: Final = "t.{column} + n * {last_order}::bigint"
_NUMBER: Final = "t.{column} || '-' || n"
#: What is due lies a little apart, as it does when refunds come one after the other.
_DUE: Final = "t.{column} + n * interval '1 millisecond'"
#: The first event keeps what was accepted; the audit compares.
_DETAIL: Final = (
    "CASE WHEN t.seq > 1 THEN t.detail ELSE t.detail || jsonb_build_object("
    "'order_no', t.detail->>'order_no' || '-' || n,"
    " 'refund_no', t.detail->>'refund_no' || '-' || n) END"
)
#: A table, the column by which its rows belong to a refund or an order, and what is not copied.
_TABLES: Final[tuple[tuple[Table, str, dict[str, str]], ...]] = (
    (orders, "id", {"id": _ORDER_ID, "order_no": _NUMBER}),
    (
        refunds,
        "id",
        {"id": _REFUND_ID, "order_id": _ORDER_ID, "refund_no": _NUMBER, "due_at": _DUE},
    ),
    (attempts, "refund_id", {"refund_id": _REFUND_ID}),
    (events, "refund_id", {"refund_id": _REFUND_ID, "detail": _DETAIL}),
)
#: Bytes that are moved on at once.
_BLOCK: Final = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Pattern:
    """All that an otherwise empty ledger holds, and the highest ids of it."""

    count: int
    last_refund: int
    last_order: int


def pattern_of(database_url: str) -> Pattern:
    """The ledger as it is, to be multiplied.

    Raises:
        ValueError: an order of it is to be woken, and so would be all its copies.
    """
    with _connected(database_url) as connection:
        awake = _one(connection, "SELECT count(*) FROM orders WHERE wake_at IS NOT NULL")
        if awake != (0,):
            raise ValueError(f"{awake[0]} orders are to be woken: no pattern for a quiet history")
        return Pattern(
            count=_count(connection),
            last_refund=_highest(connection, "refunds"),
            last_order=_highest(connection, "orders"),
        )


def fill_up(database_url: str, pattern: Pattern, wanted: int) -> int:
    """Copy the pattern behind all that is there until there are so many refunds; how many are.

    The ids that a worker took meanwhile are skipped. What is loaded is not checked row by row.
    """
    with _connected(database_url) as connection:
        used = _highest(connection, "refunds") // pattern.last_refund
        first = max(used, _highest(connection, "orders") // pattern.last_order) + 1
        copies = -(-max(0, wanted - _count(connection)) // pattern.count)
    for table, key, changed in _TABLES if copies else ():
        _copy(database_url, pattern, table, key, changed, range(first, first + copies))
    return _finish(database_url)


def _copy(
    database_url: str,
    pattern: Pattern,
    table: Table,
    key: str,
    changed: dict[str, str],
    numbers: range,
) -> None:
    """One COPY out, of rows that the server makes, into one COPY in."""
    columns = [column.name for column in table.columns]
    values = [
        changed.get(name, "t.{column}").format(
            column=name, last_refund=pattern.last_refund, last_order=pattern.last_order
        )
        for name in columns
    ]
    last = pattern.last_order if table is orders else pattern.last_refund
    # ``n > 0`` has the server make one copy after the other, so that ids grow
    made = (
        f"SELECT {', '.join(values)} FROM generate_series({numbers.start}, {numbers.stop - 1}) n"
        f" CROSS JOIN LATERAL (SELECT * FROM {table.name}"
        f" WHERE {key} BETWEEN 1 AND {last} AND n > 0 ORDER BY {key}) t"
    )
    into = f"{table.name} ({', '.join(columns)})"
    with _connected(database_url) as source, _connected(database_url) as target:
        target.execute("SET session_replication_role = replica")  # its triggers are for workers
        with (
            source.cursor().copy(_sql(f"COPY ({made}) TO STDOUT (FORMAT BINARY)")) as rows,
            target.cursor().copy(_sql(f"COPY {into} FROM STDIN (FORMAT BINARY)")) as written,
        ):
            block = bytearray()
            for data in rows:
                block += data
                if len(block) >= _BLOCK:
                    written.write(bytes(block))
                    block.clear()
            written.write(bytes(block))


def _finish(database_url: str) -> int:
    """Ids go on behind what was loaded, and the planner knows it."""
    with _connected(database_url) as connection:
        for table in ("orders", "refunds"):
            sequence = f"pg_get_serial_sequence('{table}', 'id')"
            connection.execute(_sql(f"SELECT setval({sequence}, {_highest(connection, table)})"))
        connection.execute("VACUUM (ANALYZE)")
        return _count(connection)


def _connected(database_url: str) -> psycopg.Connection[Any]:
    url = make_url(database_url).set(drivername="postgresql")
    return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)


def _highest(connection: psycopg.Connection[Any], table: str) -> int:
    return int(_one(connection, f"SELECT max(id) FROM {table}")[0])


def _count(connection: psycopg.Connection[Any]) -> int:
    return int(_one(connection, "SELECT count(*) FROM refunds")[0])


def _one(connection: psycopg.Connection[Any], query: str) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = connection.execute(_sql(query)).fetchone()
    assert row is not None
    return row


def _sql(query: str) -> sql.SQL:
    """Made of our own names and numbers alone."""
    return sql.SQL(query)
