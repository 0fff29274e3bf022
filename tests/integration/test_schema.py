"""The migrations make the schema that the code works with, however often they are run."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, create_engine, text

from tests.integration.builders import insert
from tests.simulator.harness import await_true
from worker.ledger.engine import Ledger, create_ledger_engine
from worker.ledger.migrate import is_current, upgrade
from worker.ledger.tables import metadata

ROOT = Path(__file__).parents[2]
#: Every constraint of a schema as PostgreSQL itself spells it.
POSTGRES_CONSTRAINTS = """
SELECT t.relname, c.contype::text, pg_get_constraintdef(c.oid)
FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
WHERE n.nspname = :schema AND t.relname <> 'alembic_version' AND c.contype <> 'n'
"""
POSTGRES_INDEXES = """
SELECT tablename, indexname, replace(indexdef, schemaname || '.', '') FROM pg_indexes
WHERE schemaname = :schema AND tablename <> 'alembic_version'
"""
POSTGRES_COLUMNS = """
SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default
FROM information_schema.columns
WHERE table_schema = :schema AND table_name <> 'alembic_version'
"""
SQLITE_COLUMNS = """
SELECT m.name, c.name, c.type, c."notnull", c.dflt_value, c.pk
FROM sqlite_master m, pragma_table_info(m.name) c
WHERE m.type = 'table' AND m.name NOT LIKE 'alembic%'
"""
#: A check's condition, with at most two levels of brackets in it.
CHECK = re.compile(r"CHECK (\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))")
SQLITE_INDEXES = "SELECT tbl_name, name, sql FROM sqlite_master WHERE type = 'index'"


def rows(connection: Connection, sql: str, **values: Any) -> list[str]:
    """Rows of a catalog in an order of their own."""
    return sorted(str(tuple(row)) for row in connection.execute(text(sql), values))


def without_schema(found: list[str], schema: str) -> list[str]:
    return sorted(row.replace(f"{schema}.", "") for row in found)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Connection]:
    """An SQLite database that the tables were made in without a migration."""
    engine = create_engine(f"sqlite:///{tmp_path / 'made.sqlite'}")
    metadata.create_all(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_the_migrated_schema_is_the_one_in_the_code(scratch: Connection) -> None:
    defaults = scratch.dialect.name == "postgresql"  # on SQLite it takes an identity for one
    options = {"compare_type": True, "compare_server_default": defaults}
    context = MigrationContext.configure(scratch, opts=options)
    assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize("catalog", [POSTGRES_CONSTRAINTS, POSTGRES_INDEXES, POSTGRES_COLUMNS])
def test_postgresql_spells_both_schemas_alike(catalog: str, postgres_ledger: Ledger) -> None:
    with postgres_ledger.engine.connect() as connection:
        connection.execute(text("CREATE SCHEMA made"))
        connection.execute(text("SET LOCAL search_path = made"))
        metadata.create_all(connection, checkfirst=False)
        made = without_schema(rows(connection, catalog, schema="made"), "made")
        connection.execute(text("SET LOCAL search_path = public"))
        migrated = without_schema(rows(connection, catalog, schema="public"), "public")
        connection.rollback()
    assert migrated == made
    assert len(made) > 20


def test_sqlite_keeps_the_same_columns_indexes_and_checks(
    other: Connection, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'migrated.sqlite'}"
    upgrade(url)
    engine = create_engine(url)
    with engine.connect() as migrated:
        theirs = [row for row in rows(migrated, SQLITE_INDEXES) if "alembic" not in row]
        assert theirs == rows(other, SQLITE_INDEXES)
        assert rows(migrated, SQLITE_COLUMNS) == rows(other, SQLITE_COLUMNS)
        assert checks(migrated) == checks(other)
    engine.dispose()


def checks(connection: Connection) -> list[str]:
    """The conditions of every check in an SQLite database."""
    sql = text("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
    return sorted(
        f"{row.name}: {' '.join(condition.split())}"
        for row in connection.execute(sql)
        for condition in CHECK.findall(row.sql)
    )


def test_an_upgrade_again_changes_nothing(ledger: Ledger) -> None:
    url = ledger.engine.url.render_as_string(hide_password=False)
    with ledger.write() as connection:
        insert(connection, "accounts", name="shop", provider="quickpay", merchant="M")
    upgrade(url)
    assert is_current(url)
    with ledger.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM accounts")).scalar_one() == 1


def test_a_database_that_was_never_upgraded_is_not_current(database_url: str) -> None:
    assert not is_current(database_url)


def test_upgrades_at_once_are_as_good_as_one(database_url: str) -> None:
    code = (
        f"from worker.ledger.migrate import upgrade; print(flush=True); upgrade({database_url!r})"
    )
    pipe, command = subprocess.PIPE, [sys.executable, "-c", code]
    engine = create_ledger_engine(database_url)
    with ExitStack() as stack:
        with engine.connect() as first:
            first.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
            both = [
                stack.enter_context(subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe))
                for _ in range(2)
            ]
            await_both_wait(both, engine)
            first.rollback()
        errors = [process.communicate(timeout=60)[1].decode() for process in both]
    engine.dispose()
    assert [process.returncode for process in both] == [0, 0], errors
    assert is_current(database_url)


def await_both_wait(both: list[subprocess.Popen[bytes]], engine: Engine) -> None:
    """Two upgrades are held up by the transaction of a third; on SQLite they are about to be."""
    for process in both:
        assert process.stdout is not None
        process.stdout.readline()
    if engine.dialect.name == "postgresql":
        waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as looking:
            await_true(lambda: looking.execute(waiting).scalar_one() == 2)
