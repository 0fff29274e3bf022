"""Imports of large files: every row accounted for, in memory that does not grow with the file.

``IMPORT_ROWS=100000 pytest -s tests/performance/test_imports.py`` prints what 100,000 rows take.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from openpyxl import Workbook

from tests.databases import migrated
from tests.performance.watched import Watched

ROWS = int(os.environ.get("IMPORT_ROWS", "4000"))
FEW = 200
#: What more rows may cost in memory, in KiB: what a lot, a chunk and the interpreter's caches take.
MORE_KIB = 30_000
COLUMNS = ("order_no", "refund_no", "amount", "order_amount")
ACCOUNTS = """
[accounts.shop]
provider = "quickpay"
base_url = "http://127.0.0.1:9/qp"
store_no = "S1"
operator = "ops"
"""


@pytest.fixture
def run(tmp_path: Path, database_url: str) -> Watched:
    """Runs a command in a process of its own, on a ledger of the test's own."""
    with migrated(database_url):
        return Watched(tmp_path, database_url, ACCOUNTS)


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
    make: Callable[[Path, int, str], Path], run: Watched, tmp_path: Path
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
