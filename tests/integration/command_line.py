"""The command line in the tests' own process, on a ledger of the test's own."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from config.settings import load_settings
from worker.cli import app
from worker.cli.problems import explained
from worker.ledger.migrate import upgrade
from worker.runtime import Runtime, build_runtime


def installed(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    accounts: str,
    broker: str = "redis://127.0.0.1:1/0",
) -> Runtime:
    """An installation in the folder, which the variables name: accounts and a migrated ledger."""
    (folder / "accounts.toml").write_text(accounts)
    monkeypatch.setenv("REFUNDRY_HOME", str(folder))
    monkeypatch.setenv("REFUNDRY_BROKER_URL", broker)
    monkeypatch.setenv("REFUNDRY_ACCOUNTS", str(folder / "accounts.toml"))
    upgrade(load_settings().database())
    return build_runtime(load_settings())


def invoke(*arguments: str) -> Result:
    """Run a command. Raises SystemExit with the code of what it is refused for.

    What it logs goes elsewhere, as for a process of its own.
    """
    with explained(), capture_logs():
        return CliRunner().invoke(app, arguments, catch_exceptions=False)
