"""Databases of a module's own; where the crashes run, and what they say in the end."""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from sqlalchemy import text

from tests.databases import migrated, new_database
from tests.faults.crash_points import Crashes
from tests.faults.crash_scenarios import Scenario
from tests.faults.crash_story import Bench, bench, copies
from tests.integration.conftest import sqlite_template
from worker.ledger.tables import metadata

__all__ = ["sqlite_template"]
#: What is drawn is drawn from it; a failure names it.
CRASH_SEED = "CRASH_SEED"
#: The number of the one effect before and after which a worker dies; every place where absent.
CRASH_EFFECT = "CRASH_EFFECT"


class CrashIn(Protocol):
    """Crashes in a scenario at a provider, everywhere or in so many places."""

    def __call__(self, scenario: Scenario, provider: str, most: int | None = None) -> None: ...


@pytest.fixture(scope="module")
def postgres_database(postgres: str) -> str:
    """URL of an empty database of the module's own; it goes with the server."""
    return new_database(postgres)


@pytest.fixture(scope="session")
def crash_seed() -> int:
    """Another one every time."""
    return int(os.environ.get(CRASH_SEED) or random.randrange(1_000_000))


@pytest.fixture(scope="module")
def sqlite_bench(
    valkey: str, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    """Stories on SQLite."""
    folder = tmp_path_factory.mktemp("crashes")
    with bench(valkey, folder, copies(sqlite_template, folder)) as one:
        yield one


@pytest.fixture(scope="module")
def postgresql_bench(
    valkey: str, postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    """Stories on PostgreSQL."""
    folder, url = tmp_path_factory.mktemp("crashes"), new_database(postgres)
    tables = ", ".join(table.name for table in metadata.sorted_tables)
    with migrated(url) as ledger:

        def empty() -> str:
            with ledger.write() as connection:
                connection.execute(text("SET LOCAL session_replication_role = replica"))
                connection.execute(text(f"TRUNCATE {tables} RESTART IDENTITY"))
            return url

        with bench(valkey, folder, empty) as one:
            yield one


@pytest.fixture
def crash_in(sqlite_bench: Bench, crash_seed: int, request: pytest.FixtureRequest) -> CrashIn:
    """On SQLite."""
    return _crash_in(sqlite_bench, crash_seed, request)


@pytest.fixture
def crash_in_postgresql(
    postgresql_bench: Bench, crash_seed: int, request: pytest.FixtureRequest
) -> CrashIn:
    """On PostgreSQL."""
    return _crash_in(postgresql_bench, crash_seed, request)


def _crash_in(bench: Bench, seed: int, request: pytest.FixtureRequest) -> CrashIn:
    def crash(scenario: Scenario, provider: str, most: int | None = None) -> None:
        only = os.environ.get(CRASH_EFFECT)
        crashes = Crashes(bench, scenario, provider, seed)
        tally = crashes.everywhere(int(only) if only else None, most)
        where = "some" if most else "all"
        line = f"{provider:10} {scenario.name:24} {tally} of {where}, seed {seed}"
        request.node.user_properties.append(("crashes", line))

    return crash


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line a scenario: how many places there are."""
    lines = [
        str(value)
        for report in terminalreporter.stats.get("passed", [])
        for name, value in report.user_properties
        if name == "crashes"
    ]
    if lines:
        terminalreporter.section("crashes")
    for line in sorted(lines):
        terminalreporter.write_line(line)
