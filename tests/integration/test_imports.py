"""Imports: every row of a file is taken in once, whatever happens, and says what became of it."""

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from tests.databases import migrated
from tests.integration.builders import Shop, race
from tests.integration.conftest import MakeShop
from worker.errors import Refused, WrongFile
from worker.importing.files import copied
from worker.importing.words import ImportState, RowVerdict, Terms, Unit
from worker.ledger import import_rows
from worker.ledger.engine import Ledger
from worker.ledger.imports import Import
from worker.ledger.journal import open_case
from worker.ledger.orders import lock_order
from worker.refund import Case, Verdict
from worker.steps import import_commands, import_files, imports
from worker.steps.imports import Taken, take_next

COLUMNS = ("account", "order_no", "refund_no", "amount", "order_amount")
TERMS = Terms()
ACCEPTED, REPEATED, REFUSED = RowVerdict.ACCEPTED, RowVerdict.REPEATED, RowVerdict.REFUSED
WAITING, CANCELED = RowVerdict.WAITING, RowVerdict.CANCELED

Rows = list[tuple[Any, ...]]
Loaded = Callable[..., Import]


class Killed(BaseException):
    """What ends a run in the midst of something."""


def many(count: int) -> Rows:
    """Refunds of ten fen, three of each order."""
    return [("shop", f"O{row // 3}", f"R{row}", 10, 100) for row in range(count)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "refunds.csv"


@pytest.fixture
def loaded(shop: Shop, path: Path) -> Loaded:
    """Writes rows into a file and has the ledger read it."""

    def load(rows: Rows, terms: Terms = TERMS, columns: tuple[str, ...] = COLUMNS) -> Import:
        write(path, rows, columns)
        return load_again(shop, path, terms)

    return load


def write(path: Path, rows: Rows, columns: tuple[str, ...] = COLUMNS) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def load_again(shop: Shop, path: Path, terms: Terms = TERMS) -> Import:
    runtime = shop.runtime
    with copied(path) as copy:
        return import_files.load(runtime, runtime.ledger, copy, terms, lambda _: None)


def run(shop: Shop, one: Import, limit: int = imports.LOT) -> Taken:
    """Turn after turn, until it stops or waits."""
    while True:
        taken = take_next(shop.runtime, one.id, limit)
        if taken.state is not ImportState.RUNNING or taken.waits:
            return taken


def results(shop: Shop, one: Import) -> list[tuple[int, str, str]]:
    """Row, verdict and code."""
    rows = import_rows.result_rows(shop.runtime.ledger, one.id)
    return [(row.row, row.verdict, row.code) for row in rows]


def verdicts(shop: Shop, one: Import) -> Counter[str]:
    return Counter(verdict for _, verdict, _ in results(shop, one))


def settled(shop: Shop, refund_no: str, verdict: Verdict = Verdict.SUCCEEDED) -> None:
    """The refund of an order without others is sent and comes to this."""
    sql = "SELECT order_id FROM refunds WHERE refund_no = :number"
    intent = shop.claim(shop.value(sql, number=refund_no))
    assert intent is not None
    shop.settle(intent, verdict)


def columns_of(shop: Shop) -> Any:
    (row,) = shop.rows("SELECT state, reason, spent, budget FROM imports")
    return row


def test_every_row_of_a_file_becomes_a_refund(shop: Shop, loaded: Loaded) -> None:
    one = loaded(many(250))
    assert (one.state, one.row_count) == (ImportState.RUNNING, 250)
    assert run(shop, one).state is ImportState.DONE
    assert results(shop, one) == [(row, ACCEPTED, "") for row in range(2, 252)]
    assert shop.value("SELECT count(*) FROM refunds WHERE state = 'queued'") == 250
    assert shop.value("SELECT count(*) FROM orders WHERE wake_at IS NOT NULL") == 84
    assert columns_of(shop).spent == 2500
    assert shop.audit() == []


def test_refunds_of_one_order_come_in_the_order_of_the_file(shop: Shop, loaded: Loaded) -> None:
    run(shop, loaded([("shop", "O", f"R{9 - row}", 1, 100) for row in range(10)]), limit=3)
    found = [row.refund_no for row in shop.rows("SELECT refund_no FROM refunds ORDER BY id")]
    assert found == [f"R{9 - row}" for row in range(10)]


def test_the_same_file_again_does_nothing_again(shop: Shop, loaded: Loaded, path: Path) -> None:
    one = loaded(many(7))
    run(shop, one)
    again = load_again(shop, path)
    assert (again.id, again.state) == (one.id, ImportState.DONE)
    assert run(shop, again).rows == 0
    assert (shop.value("SELECT count(*) FROM imports"), columns_of(shop).spent) == (1, 70)
    assert shop.value("SELECT count(*) FROM refunds") == 7


def test_another_file_with_the_same_rows_repeats_them(shop: Shop, loaded: Loaded) -> None:
    run(shop, loaded(many(7)))
    one = loaded([*many(7), ("shop", "O9", "R9", 10, 100)])
    run(shop, one)
    assert verdicts(shop, one) == {REPEATED: 7, ACCEPTED: 1}
    assert shop.value("SELECT spent FROM imports WHERE id = :id", id=one.id) == 10
    assert shop.value("SELECT count(*) FROM refunds") == 8


def test_a_row_is_refused_as_intake_refuses_a_job(shop: Shop, loaded: Loaded) -> None:
    shop.accept(refund_no="USED", order_no="O9")
    rows: Rows = [
        ("shop", "O1", "R1", 60, 100),
        ("shop", "O1", "R2", 41, 100),
        ("shop", "O1", "R3", 1, 99),
        ("shop", "O9", "USED", 11, 100),
        ("nobody", "O1", "R4", 1, 100),
        ("shop", "O 1", "R5", 1, 100),
        ("shop", "O1", "R6", 0, 100),
        ("shop", "O1", "", 1, 100),
        ("shop", "O1", "R7", "x", 100),
        ("shop", "O1", "R8", 40, 100),
    ]
    one = loaded(rows)
    run(shop, one)
    assert [(verdict, code) for _, verdict, code in results(shop, one)] == [
        (ACCEPTED, ""),
        (REFUSED, "over_refund"),
        (REFUSED, "order_facts"),
        (REFUSED, "number_used"),
        (REFUSED, "unknown_account"),
        *[(REFUSED, "invalid")] * 4,
        (ACCEPTED, ""),
    ]
    refused = shop.rows("SELECT refund_no, code, task FROM refused_jobs ORDER BY refund_no")
    assert [(row.refund_no, row.code) for row in refused] == [
        ("R2", "over_refund"),
        ("R3", "order_facts"),
        ("USED", "number_used"),
    ]
    assert shop.value("SELECT reserved FROM orders WHERE order_no = 'O1'") == 100


def test_what_no_database_stores_is_a_rows_affair(shop: Shop, loaded: Loaded) -> None:
    rows: Rows = [
        ("shop", "O1", "R1", 1, 100, "nul\0 and escape\x1b[31m"),
        ("shop", "O1", "R\0", 1, 100, "退货"),
        ("shop", "O1", "R3", 1, 100, "x" * 257),
        ("shop", "O1", "R4", 1, 100, "=1+1"),
    ]
    one = loaded(rows, columns=(*COLUMNS, "reason"))
    run(shop, one)
    assert [verdict for _, verdict, _ in results(shop, one)] == [REFUSED] * 3 + [ACCEPTED]
    said = shop.value("SELECT said FROM import_rows WHERE row_no = 2")
    assert said.startswith("reason: holds the control character U+0000")


def test_a_number_that_stands_in_a_file_twice_is_meant_once(
    ledger: Ledger, make_shop: MakeShop, path: Path
) -> None:
    both: dict[str, Any] = {"shop": {"merchant": "one"}, "till": {"merchant": "one"}}
    shop = make_shop(ledger, **both, other={"merchant": "two"})
    rows: Rows = [
        ("shop", "O1", "R1", "x", 100),
        ("shop", "O1", "R1", 1, 100),
        ("shop", "O1", "R1", 1, 100),
        ("till", "O2", "R1", 2, 100),
        ("other", "O1", "R1", 1, 100),
    ]
    write(path, rows)
    one = load_again(shop, path)
    run(shop, one)
    assert results(shop, one) == [
        (2, REFUSED, "invalid"),
        (3, ACCEPTED, ""),
        (4, REFUSED, "doubled"),
        (5, REFUSED, "doubled"),
        (6, ACCEPTED, ""),
    ]
    assert shop.value("SELECT said FROM import_rows WHERE row_no = 5") == (
        "refund_no stands in row 3 already"
    )


def test_a_file_is_not_imported_on_other_terms(shop: Shop, loaded: Loaded, path: Path) -> None:
    run(shop, loaded(many(2), Terms(budget=100)))
    for terms in (Terms(budget=99), Terms(unit=Unit.YUAN), Terms(account="shop"), Terms(canary=1)):
        with pytest.raises(Refused, match="this file is import 1, with"):
            load_again(shop, path, terms)
    assert load_again(shop, path).state is ImportState.DONE


def test_the_budget_is_never_exceeded_and_what_is_left_waits(shop: Shop, loaded: Loaded) -> None:
    one = loaded(many(10), Terms(budget=45))
    stopped = run(shop, one)
    assert stopped.state is ImportState.PAUSED
    assert stopped.reason == "row 6 asks for 10 fen; 40 of the 45 are spent"
    assert (verdicts(shop, one), columns_of(shop).spent) == ({ACCEPTED: 4, WAITING: 6}, 40)
    assert shop.value("SELECT sum(reserved) FROM orders") == 40
    assert run(shop, one).state is ImportState.PAUSED
    with pytest.raises(Refused, match="40 fen are spent already"):
        import_commands.resume(shop.runtime.ledger, one.id, budget=39)
    import_commands.resume(shop.runtime.ledger, one.id, budget=100)
    assert run(shop, one).state is ImportState.DONE
    assert columns_of(shop).spent == 100


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_what_is_refused_or_repeated_uses_up_no_budget(
    limit: int, shop: Shop, loaded: Loaded
) -> None:
    run(shop, loaded(many(7)))
    more: Rows = [("shop", "O0", "X", 99, 100), *many(9)[7:], ("nobody", "O9", "R9", 1, 100)]
    one = loaded([*many(7), *more], Terms(budget=20))
    assert run(shop, one, limit=limit).state is ImportState.DONE
    assert verdicts(shop, one) == {REPEATED: 7, REFUSED: 2, ACCEPTED: 2}
    assert shop.value("SELECT spent FROM imports WHERE id = :id", id=one.id) == 20
    fewer = loaded([*many(7), *more, *many(10)[9:]], Terms(budget=9))
    assert run(shop, fewer, limit=limit).state is ImportState.PAUSED
    assert verdicts(shop, fewer) == {REPEATED: 9, REFUSED: 2, WAITING: 1}


def test_runs_at_once_take_every_row_in_once_and_keep_to_the_budget(
    shop: Shop, loaded: Loaded
) -> None:
    one = loaded(many(60), Terms(budget=500))
    pair = shop.processes()
    race(lambda number: run(pair[number % 2], one, limit=7), threads=4)
    assert (verdicts(shop, one), columns_of(shop).spent) == ({ACCEPTED: 50, WAITING: 10}, 500)
    import_commands.resume(shop.runtime.ledger, one.id, budget=600)
    race(lambda number: run(pair[number % 2], one, limit=7), threads=4)
    assert (verdicts(shop, one), columns_of(shop).spent) == ({ACCEPTED: 60}, 600)
    assert shop.value("SELECT count(*) FROM refunds") == 60
    assert shop.audit() == []


def test_an_import_races_producers_for_its_orders_and_its_numbers(
    shop: Shop, loaded: Loaded
) -> None:
    one = loaded(many(40))
    pair = shop.processes()

    def work(number: int) -> None:
        if number == 0:
            run(pair[0], one, limit=5)
            return
        for row in range(number % 2, 40, 2):
            pair[1].take(order_no=f"O{row // 3}", refund_no=f"R{row}")

    race(work, threads=5)
    assert set(verdicts(shop, one)) <= {ACCEPTED, REPEATED}
    assert shop.value("SELECT count(*) FROM refunds") == 40
    assert columns_of(shop).spent == 10 * verdicts(shop, one)[ACCEPTED]
    assert shop.audit() == []


def test_rows_whose_order_somebody_writes_come_later_and_are_never_refused_for_it(
    postgres_ledger: Ledger, make_shop: MakeShop, path: Path
) -> None:
    shop = make_shop(postgres_ledger)
    order_id = shop.accept(order_no="O1", refund_no="BEFORE").order_id
    rows: Rows = [("shop", f"O{row % 3}", f"R{row}", 1, 100, "") for row in range(9)]
    write(path, [("shop", "O1", "FIRST", 1, 100, 10), *rows], (*COLUMNS, "expected_refunded"))
    one = load_again(shop, path)
    with ThreadPoolExecutor(1) as pool:
        with postgres_ledger.write() as connection:
            lock_order(connection, order_id)
            assert take_next(shop.runtime, one.id).rows == 6
            rest = pool.submit(run, shop, one)
            assert wait([rest], timeout=1).not_done
        assert rest.result(timeout=20).state is ImportState.DONE
    assert verdicts(shop, one) == {ACCEPTED: 10}
    found = shop.rows("SELECT refund_no FROM refunds WHERE order_id = :id ORDER BY id", id=order_id)
    assert [row.refund_no for row in found] == ["BEFORE", "FIRST", "R1", "R4", "R7"]


def test_the_database_itself_keeps_to_the_budget_and_to_the_words(
    shop: Shop, loaded: Loaded
) -> None:
    run(shop, loaded(many(3), Terms(budget=30)))
    for broken in (
        "UPDATE imports SET spent = 31",
        "UPDATE imports SET budget = 29",
        "UPDATE imports SET spent = -1",
        "UPDATE imports SET state = 'over'",
        "UPDATE imports SET unit = 'jiao'",
        "UPDATE import_rows SET verdict = 'perhaps'",
        "UPDATE import_rows SET verdict = 'refused'",
        "INSERT INTO import_rows (import_id, row_no, verdict) VALUES (1, 2, 'waiting')",
        "INSERT INTO import_rows (import_id, row_no, verdict) VALUES (2, 2, 'waiting')",
        "INSERT INTO imports (digest, name, unit, canary, canary_passed, state, created_at,"
        " state_at) SELECT digest, name, unit, canary, canary_passed, state, created_at,"
        " state_at FROM imports",
    ):
        with pytest.raises(IntegrityError):
            shop.execute(broken)


def test_the_rest_goes_only_once_the_whole_canary_has_succeeded(shop: Shop, loaded: Loaded) -> None:
    one = loaded([("shop", f"O{row}", f"R{row}", 10, 100) for row in range(9)], Terms(canary=2))
    for _ in range(3):
        assert run(shop, one).waits
        assert verdicts(shop, one) == {ACCEPTED: 2, WAITING: 7}
    settled(shop, "R0")
    assert run(shop, one).waits
    assert verdicts(shop, one) == {ACCEPTED: 2, WAITING: 7}
    settled(shop, "R1")
    assert run(shop, one).state is ImportState.DONE
    assert verdicts(shop, one) == {ACCEPTED: 9}


@pytest.mark.parametrize("verdict", [Verdict.REJECTED, Verdict.UNKNOWN])
def test_a_canary_that_does_not_succeed_pauses_the_import(
    verdict: Verdict, shop: Shop, loaded: Loaded
) -> None:
    one = loaded([("shop", f"O{row}", f"R{row}", 10, 100) for row in range(9)], Terms(canary=2))
    run(shop, one)
    settled(shop, "R0")
    settled(shop, "R1", verdict)
    if verdict is Verdict.UNKNOWN:
        assert run(shop, one).waits
        with shop.runtime.ledger.write() as connection:
            refund_id = shop.value("SELECT id FROM refunds WHERE refund_no = 'R1'")
            open_case(connection, refund_id, Case.AGED, {}, shop.clock.now)
    stopped = run(shop, one)
    assert stopped.state is ImportState.PAUSED
    assert stopped.reason.startswith("row 3 of the canary is ")
    import_commands.resume(shop.runtime.ledger, one.id)
    assert run(shop, one).state is ImportState.PAUSED
    assert verdicts(shop, one) == {ACCEPTED: 2, WAITING: 7}
    import_commands.resume(shop.runtime.ledger, one.id, without_canary=True)
    assert run(shop, one).state is ImportState.DONE


@pytest.mark.parametrize("wrong", [("shop", "O1", "R1", 101, 100), ("shop", "O1", "R1", 51, 100)])
def test_a_canary_that_is_refused_pauses_the_import(
    wrong: tuple[Any, ...], shop: Shop, loaded: Loaded
) -> None:
    shop.accept(order_no="O1", refund_no="BEFORE", amount=50)
    one = loaded([*many(1), wrong, *many(9)[6:]], Terms(canary=2))
    assert run(shop, one).reason == "row 3 of the canary is refused"
    assert verdicts(shop, one)[WAITING] >= 3


def test_an_import_is_paused_resumed_and_canceled(shop: Shop, loaded: Loaded) -> None:
    ledger, one = shop.runtime.ledger, loaded(many(30))
    take_next(shop.runtime, one.id, 10)
    import_commands.pause(ledger, one.id, "month's end")
    assert run(shop, one) == Taken(state=ImportState.PAUSED, reason="month's end")
    with pytest.raises(Refused, match="import 1 is paused, not running"):
        import_commands.pause(ledger, one.id, "again")
    import_commands.resume(ledger, one.id)
    take_next(shop.runtime, one.id, 10)
    import_commands.cancel(ledger, one.id)
    assert run(shop, one).state is ImportState.CANCELED
    assert verdicts(shop, one) == {ACCEPTED: 20, CANCELED: 10}
    assert shop.value("SELECT count(*) FROM refunds WHERE state = 'queued'") == 20
    for command in (import_commands.resume, import_commands.cancel):
        with pytest.raises(Refused, match="import 1 is canceled"):
            command(ledger, one.id)
    with pytest.raises(Refused, match="no import 2"):
        import_commands.cancel(ledger, 2)


@contextmanager
def killed_at(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, after: int) -> Iterator[None]:
    """A run ends where it has done this so often and is about to do it again, or has just."""
    real, times = getattr(place, name), iter(range(after, -1, -1))

    def deadly(*given: Any, **named: Any) -> Any:
        done = real(*given, **named)
        if next(times, 1) == 0:
            raise Killed
        return done

    with monkeypatch.context() as patch:
        patch.setattr(place, name, deadly)
        with pytest.raises(Killed):
            yield


@pytest.mark.parametrize("name", ["take_within", "write_verdicts", "update_import"])
def test_a_run_that_ends_in_the_midst_of_a_turn_has_not_begun_it(
    name: str, shop: Shop, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = loaded(many(30), Terms(budget=300))
    for after in (0, 1, 0):
        with killed_at(monkeypatch, imports, name, after):
            run(shop, one, limit=5)
        taken = verdicts(shop, one)[ACCEPTED]
        assert shop.value("SELECT count(*) FROM refunds") == taken
        assert columns_of(shop).spent == 10 * taken
    assert run(shop, one).state is ImportState.DONE
    assert (verdicts(shop, one), columns_of(shop).spent) == ({ACCEPTED: 30}, 300)


@pytest.mark.parametrize("name", ["_added", "_finish", "_read_row"])
def test_a_file_whose_reading_was_interrupted_is_read_to_its_end(
    name: str, shop: Shop, loaded: Loaded, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_files, "LOT", 10)
    with killed_at(monkeypatch, import_files, name, 0):
        loaded([*many(25), *many(1)])
    one = load_again(shop, path)
    assert (one.state, one.row_count) == (ImportState.RUNNING, 26)
    run(shop, one)
    assert verdicts(shop, one) == {ACCEPTED: 25, REFUSED: 1}


def test_two_who_read_a_file_at_once_write_its_rows_once(
    shop: Shop, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_files, "LOT", 10)
    write(path, [*many(95), *many(1)])
    found = race(lambda _: load_again(shop, path), threads=4)
    assert {(one.id, one.row_count, one.state) for one in found} == {(1, 96, ImportState.RUNNING)}


def test_nothing_is_asked_for_before_a_file_was_read_to_its_end(
    shop: Shop, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_files, "LOT", 10)
    write(path, many(30))
    with path.open("ab") as file:
        file.write("shop,O9,退,1,2\n".encode("gbk"))
    with pytest.raises(WrongFile, match="line 32 is not UTF-8"):
        load_again(shop, path)
    assert load_again(shop, path).state is ImportState.CANCELED
    assert columns_of(shop)[:2] == (
        "canceled",
        "line 32 is not UTF-8; save the file as “CSV UTF-8”, or as XLSX",
    )
    assert take_next(shop.runtime, 1).state is ImportState.CANCELED
    assert shop.value("SELECT count(*) FROM refunds") == 0


@pytest.mark.parametrize("content", ["", "\n\n", ",".join(COLUMNS), ",".join(COLUMNS) + "\n,,\n"])
def test_a_file_without_rows_is_refused(content: str, shop: Shop, path: Path) -> None:
    path.write_text(content)
    with pytest.raises(WrongFile, match=r"is empty|has no rows"):
        load_again(shop, path)


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Ledger]:
    with migrated(f"sqlite:///{tmp_path / 'scratch.sqlite'}") as one:
        yield one


def rehearsed(shop: Shop, scratch: Ledger, path: Path) -> list[Any]:
    with copied(path) as copy:
        one = import_files.load(shop.runtime, scratch, copy, TERMS, lambda _: None)
    import_files.rehearse(shop.runtime, scratch, one, lambda _: None)
    return [(row.row, row.verdict, row.code, row.said) for row in rows_said(scratch, one)]


def rows_said(ledger: Ledger, one: Import) -> Iterator[import_rows.ResultRow]:
    return import_rows.result_rows(ledger, one.id)


def test_a_rehearsal_says_what_the_run_then_does_and_changes_nothing(
    ledger: Ledger,
    make_shop: MakeShop,
    scratch: Ledger,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(import_files, "LOT", 4)
    shop = make_shop(ledger, shop={"max_refunds_per_order": 9}, till={"max_refunds_per_order": 2})
    shop.accept(order_no="O1", refund_no="BEFORE", amount=40)
    shop.accept(account="till", order_no="O1", refund_no="T", amount=40)
    rows: Rows = [("shop", "O1", f"S{row}", 1 + row * 2, 100, "") for row in range(11)]
    rows += [("till", f"O{row % 3}", f"T{row}", 1, 100, "") for row in range(12)]
    rows += [("shop", "O5", f"U{row}", 1, 100 - row % 2, "") for row in range(5)]
    rows += [("shop", "O6", f"V{row}", 9, 100, expected) for row, expected in enumerate((0, 0, 9))]
    rows += [("shop", "O1", "BEFORE", 40, 100, ""), ("shop", "O1", "BEFORE", 40, 100, "")]
    rows += [("till", "O1", "T", 41, 100, ""), ("nobody", "O1", "N", 1, 1, ""), *rows[:2]]
    write(path, rows, (*COLUMNS, "expected_refunded"))
    before = everything(shop)
    foreseen = rehearsed(shop, scratch, path)
    assert everything(shop) == before
    one = load_again(shop, path)
    run(shop, one, limit=6)
    said = rows_said(shop.runtime.ledger, one)
    assert foreseen == [(row.row, row.verdict, row.code, row.said) for row in said]
    assert {code for _, _, code, _ in foreseen} == {
        *("", "over_refund", "too_many_refunds", "order_facts", "expected_refunded"),
        *("number_used", "unknown_account", "doubled"),
    }
    assert {verdict for _, verdict, _, _ in foreseen} == {ACCEPTED, REPEATED, REFUSED}


def everything(shop: Shop) -> list[Any]:
    """All that a rehearsal could have touched."""
    tables = ("accounts", "orders", "refunds", "events", "refused_jobs", "imports", "import_rows")
    return [shop.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]


def test_a_thousand_rows_of_one_order_are_rehearsed_as_one_order(
    shop: Shop, scratch: Ledger, path: Path
) -> None:
    write(path, [("shop", "O1", f"R{row}", 1, 700) for row in range(1200)])
    foreseen = Counter(verdict for _, verdict, _, _ in rehearsed(shop, scratch, path))
    assert foreseen == {ACCEPTED: 700, REFUSED: 500}
