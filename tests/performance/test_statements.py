"""Bills of many lines: imported and compared to the end, by few statements, in bounded memory.

With ``STATEMENT_LINES=1000000 pytest -s`` it prints what a million takes.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from tests.databases import migrated
from tests.integration.builders import open_shop
from tests.performance.paid import DAY, HEAD, LAYOUT, bill, load
from tests.performance.watched import Watched
from worker.ledger.engine import Ledger
from worker.steps.compare_lines import CHUNK
from worker.steps.reconcile import compare_statements
from worker.steps.statements import import_statement

LINES = int(os.environ.get("STATEMENT_LINES", "20000"))
FEW = 200
#: What more lines may cost in memory, in KiB: what a chunk and the interpreter's caches take.
MORE_KIB = 40_000
#: Statements that may compare a chunk of lines, in all stages.
PER_CHUNK = 45
ACCOUNTS = f"""
[accounts.shop]
provider = "quickpay"
base_url = "http://127.0.0.1:9/qp"
store_no = "S1"
operator = "ops"
merchant = "shop"
query = false
{LAYOUT}"""
COLUMNS = ("refund", "theirs", "order", "amount", "day", "state")
FIELDS = ("refund_no", "provider_refund_no", "order_no", "amount", "at", "state")


def cases(ledger: Ledger) -> Counter[str]:
    with ledger.read() as connection:
        found = connection.execute(text("SELECT kind, count(*) AS times FROM cases GROUP BY kind"))
        return Counter({row.kind: row.times for row in found})


def differences(ledger: Ledger) -> int:
    with ledger.read() as connection:
        return int(connection.execute(text("SELECT count(*) FROM differences")).scalar_one())


@pytest.mark.timeout(7200)
def test_a_long_bill_is_compared_to_the_end_in_bounded_memory(
    database_url: str, tmp_path: Path
) -> None:
    run, path, few = Watched(tmp_path, database_url, ACCOUNTS), tmp_path / "b.csv", tmp_path / "f"
    few.write_text(HEAD + "".join(f"Z{n},,OZ,1.00,2026-01-01,no\n" for n in range(FEW)))
    expected = bill(path, LINES)
    with migrated(database_url) as ledger:
        load(ledger, LINES)
        before = run("statement", "import", str(few), "--account=shop")
        done = run("statement", "import", str(path), "--account=shop")
        assert cases(ledger) == expected
        assert differences(ledger) == sum(expected.values())
        again = run("reconcile", "--account=shop", f"--day={DAY}")
        assert cases(ledger) == expected
    assert done.shown["results"]["cases"] == sum(expected.values())
    assert again.shown["counts"]["audited"] == LINES
    assert max(done.kib, again.kib) < before.kib + MORE_KIB


def test_statements_grow_with_chunks_of_lines_and_not_with_lines(
    ledger: Ledger, valkey: str, tmp_path: Path
) -> None:
    lines = 3 * CHUNK
    expected = bill(tmp_path / "bill.csv", lines)
    load(ledger, lines)
    columns = dict(zip(FIELDS, COLUMNS, strict=True))
    layout: dict[str, Any] = {"columns": columns, "succeeded": ["ok"], "failed": ["no"]}
    settings = {"statement": layout, "query": False}
    with open_shop(ledger, valkey, "http://127.0.0.1:9", {"shop": settings}) as shop:
        import_statement(shop.runtime, "shop", tmp_path / "bill.csv")
        count = Counter[str]()
        event.listen(
            ledger.engine, "before_cursor_execute", lambda *_: count.update(["statements"])
        )
        compare_statements(shop.runtime, shop.runtime.line("shop"), 1000)
    del expected["missing"]  # by the shop's clock the bill may still lack it
    assert cases(ledger) == expected
    assert count["statements"] < PER_CHUNK * 4


def test_a_comparison_that_is_killed_again_and_again_opens_every_case_once(
    database_url: str, tmp_path: Path
) -> None:
    run, path = Watched(tmp_path, database_url, ACCOUNTS), tmp_path / "bill.csv"
    expected = bill(path, LINES, apart=4)
    with migrated(database_url) as ledger:
        load(ledger, LINES)
        looked = [kill_once(run, path, lambda: looked_at(ledger) > LINES // 10) for _ in range(2)]
        opened = kill_once(run, path, lambda: bool(cases(ledger)))
        assert [*looked, opened] == [True] * 3, "a quick run is over before it is killed"
        assert 0 < sum(cases(ledger).values()) < sum(expected.values())
        run("statement", "import", str(path), "--account=shop")
        assert cases(ledger) == expected
        assert differences(ledger) == sum(expected.values())
        results = (
            "SELECT count(*) FROM statement_lines WHERE result IN ('new', 'linked', 'differs')"
        )
        with ledger.read() as connection:
            assert connection.execute(text(results)).scalar_one() == 0


def kill_once(run: Watched, path: Path, reached: Callable[[], bool]) -> bool:
    """Kill a run once it is so far; whether it was still at work."""
    with run.begun("statement", "import", str(path), "--account=shop") as process:
        while not reached() and process.poll() is None:
            pass
        process.kill()
    return process.returncode == -signal.SIGKILL


def looked_at(ledger: Ledger) -> int:
    done = "SELECT count(*) FROM statement_lines WHERE result NOT IN ('new', 'linked')"
    with ledger.read() as connection:
        return int(connection.execute(text(done)).scalar_one())
