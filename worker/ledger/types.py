"""Column types that mean the same on PostgreSQL and SQLite."""

import json
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Connection,
    Date,
    DateTime,
    Dialect,
    Integer,
    Table,
    Text,
    bindparam,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine


def insert_into(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT of the connection's own dialect, which has an ON CONFLICT clause."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


#: SQLite numbers rows only in a column that is called INTEGER.
RowId = BigInteger().with_variant(Integer(), "sqlite")
#: Integer fen.
Fen = BigInteger()
Json: TypeEngine[Any] = JSON().with_variant(JSONB(), "postgresql")


class UtcTime(TypeDecorator[datetime]):
    """An aware time in UTC; SQLite stores it as text that sorts as the time does."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class _Numbers(TypeDecorator[list[int]]):
    """Row ids as one parameter: an array, on SQLite its JSON text."""

    impl = Text
    cache_ok = True
    item: TypeEngine[Any] = BigInteger()

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(ARRAY(self.item) if _has_arrays(dialect) else Text())

    def process_bind_param(self, value: list[Any] | None, dialect: Dialect) -> Any:
        return value if _has_arrays(dialect) else json.dumps(value)


class _Texts(_Numbers):
    cache_ok = True
    item = Text()


def _has_arrays(dialect: Dialect) -> bool:
    return dialect.name == "postgresql"


class _IsOneOf(FunctionElement[Any]):
    """Of no type: SQLite would be given a comparison with 1, and use no index."""

    inherit_cache = True


def is_one_of(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Whether a column has one of the values of the parameter ``name``, which is a list.

    The statement's text is the same for any number of them, so that it stays prepared.
    """
    kind = _Numbers() if isinstance(column.type, Integer) else _Texts()
    return _IsOneOf(column, bindparam(name, type_=kind))


@compiles(_IsOneOf, "postgresql")
def _any_of_array(element: Any, compiler: Any, **options: Any) -> str:
    column, values = element.clauses
    return f"{compiler.process(column, **options)} = ANY ({compiler.process(values, **options)})"


@compiles(_IsOneOf, "sqlite")
def _in_json(element: Any, compiler: Any, **options: Any) -> str:
    column, values = (compiler.process(one, **options) for one in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"


class _ShanghaiDay(FunctionElement[date]):
    """The day of a time by Shanghai's calendar, which has no summer time."""

    inherit_cache = True
    type = Date()


def shanghai_day(at: ColumnElement[datetime]) -> ColumnElement[date]:
    """The day of a time by Shanghai's calendar."""
    return _ShanghaiDay(at)


@compiles(_ShanghaiDay, "postgresql")
def _day_by_zone(element: Any, compiler: Any, **options: Any) -> str:
    (at,) = (compiler.process(one, **options) for one in element.clauses)
    return f"CAST({at} AT TIME ZONE 'Asia/Shanghai' AS date)"


@compiles(_ShanghaiDay, "sqlite")
def _day_by_offset(element: Any, compiler: Any, **options: Any) -> str:
    (at,) = (compiler.process(one, **options) for one in element.clauses)
    return f"date({at}, '+8 hours')"
