"""Imports of large files: every row accounted for, in memory that does not grow with the file.

``IMPORT_ROWS=100000 pytest -s tests/performance/test_imports.py`` prints what 100,000 rows take.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from openpyxl import Workbook

from tests.databases import migrated
from tests.e2e.service import clean_environment

ROWS = int(os.environ.get("IMPORT_ROWS", "4000"))
FEW = 200
#: What more rows may cost in memory, in KiB: what a lot, a chunk and the interpreter's caches take.
MORE_KIB = 30_000
COLUMNS = ("order_no", "refund_no", "amount", "order_amount")
#: The command, and at its end the kernel's record of it; rusage would count the tests' own memory.
WATCHED = """
import atexit, sys
from pathlib import Path
kept = Path(sys.argv.pop(1))
atexit.register(lambda: kept.write_text(Path("/proc/self/status").read_text()))
from worker.cli import main
main()
"""
ACCOUNTS = """
[accounts.shop]
provider = "quickpay"
base_url = "http://127.0.0.1:9/qp"
store_no = "S1"
operator = "ops"
"""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """The most memory that a command had, and what it printed last."""

    kib: int
    shown: dict[str, object]


@pytest.fixture
def run(tmp_path: Path, database_url: str) -> Callable[..., Ran]:
    """Runs a command in a process of its own, on a ledger of the test's own."""
    (tmp_path / "accounts.toml").write_text(ACCOUNTS)
    variables = {
        "REFUNDRY_HOME": str(tmp_path / "home"),
        "REFUNDRY_ACCOUNTS": str(tmp_path / "accounts.toml"),
        "REFUNDRY_DATABASE_URL": database_url,
        "REFUNDRY_BROKER_URL": "redis://127.0.0.1:9/0",
    }
    with migrated(database_url):
        pass

    def run(*arguments: str) -> Ran:
        kept, printed = tmp_path / "status", tmp_path / "printed"
        command = [sys.executable, "-c", WATCHED, str(kept), *arguments, "--json"]
        begin = time.monotonic()
        with printed.open("wb") as out:
            subprocess.run(command, env=clean_environment() | variables, stdout=out, check=True)
        seconds = time.monotonic() - begin
        kib = int(kept.read_text().partition("VmHWM:")[2].split()[0])
        print(f"{' '.join(arguments)}: {seconds:.1f} s, {kib / 1024:.0f} MiB")
        return Ran(kib=kib, shown=json.loads(printed.read_text().splitlines()[-1]))

    return run


def rows(count: int, name: str) -> list[tuple[object, ...]]:
    return [(f"{name}{row // 4}", f"{name}{row}", 0.25, 1) for row in range(count)]


def csv_file(folder: Path, count: int, name: str) -> Path:
    path = folder / f"{name}.csv"
    with path.open("w") as file:
        file.write(",".join(COLUMNS) + "\n")
        file.writelines(",".join(map(str, row)) + "\n" for row in rows(count, name))
    return path


def workbook(folder: Path, count: int, name: str) -> Path:
    path, book = folder / f"{name}.xlsx", Workbook(write_only=True)
    sheet = book.create_sheet()
    for row in (COLUMNS, *rows(count, name)):
        sheet.append(row)
    book.save(path)
    return path


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("make", [csv_file, workbook])
def test_a_large_file_is_taken_in_whole_in_bounded_memory(
    make: Callable[[Path, int, str], Path], run: Callable[..., Ran], tmp_path: Path
) -> None:
    options = ("--account=shop", "--yuan")
    few = run("import", str(make(tmp_path, FEW, "FEW")), *options)
    path = make(tmp_path, ROWS, "MANY")
    rehearsed = run("import", str(path), *options, "--rehearse")
    many = run("import", str(path), *options, f"--result={tmp_path / 'result.csv'}")
    total = {"account": "shop", "verdict": "accepted", "rows": ROWS, "amount": 25 * ROWS}
    assert (rehearsed.shown["totals"], many.shown["totals"]) == ([total], [total])
    assert many.shown["spent"] == 25 * ROWS
    with (tmp_path / "result.csv").open() as file:
        assert sum(",accepted,queued," in line for line in file) == ROWS
    assert max(rehearsed.kib, many.kib) < few.kib + MORE_KIB
    assert run("audit").shown["breaches"] == 0
