"""Bills that are read wrongly: one finding in place of a case of every line, and nothing lost."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.builders import Shop, race
from tests.integration.conftest import MakeShop
from worker.errors import Refused
from worker.ledger.engine import Ledger
from worker.refund import Outcome, Verdict
from worker.steps.doubts import accept
from worker.steps.people import Person
from worker.steps.reconcile import advance, begin_by_hand, compare_statements
from worker.steps.settle import settle
from worker.steps.statements import Window, day_window, import_statement

DAY = date(2026, 1, 31)
LAYOUT: dict[str, Any] = {
    "columns": {"refund_no": 1, "order_no": 2, "amount": 3, "at": 4, "state": 5},
    "succeeded": ["ok"],
    "failed": ["no"],
    "unit": "fen",
    "doubt_lines": 3,
    "doubt_share": 0.5,
    "complete_after_h": 1,
}
ANN = Person(name="ann", reason="compared with the portal")
REFUNDS = 6
Read = Callable[..., int]


@pytest.fixture
def shop(ledger: Ledger, make_shop: MakeShop) -> Shop:
    """A shop with refunds that were paid, each of an order of its own."""
    shop = make_shop(ledger, shop={"statement": LAYOUT})
    for number in range(REFUNDS):
        order_id = shop.accept(refund_no=f"R{number}", order_no=f"O{number}").order_id
        intent = shop.claim(order_id)
        assert intent is not None
        settle(shop.runtime, intent, Outcome(verdict=Verdict.SUCCEEDED))
    shop.execute("UPDATE refunds SET due_at = NULL")
    return shop


@pytest.fixture
def read(ledger: Ledger, make_shop: MakeShop, shop: Shop, tmp_path: Path) -> Read:
    """Imports a file by a layout that differs from the usual one, and compares it; its number."""

    def read(
        *lines: str, window: Window | None = None, name: str = "bill.csv", **layout: Any
    ) -> int:
        path = tmp_path / name
        path.write_text("".join(f"{line}\n" for line in lines))
        own = make_shop(ledger, shop={"statement": LAYOUT | layout})
        own.clock.now = shop.clock.now
        window = window or day_window(DAY, DAY)
        imported = import_statement(own.runtime, "shop", path, window)
        compare(own)
        return imported.statement.id

    return read


def compare(shop: Shop) -> dict[str, int]:
    counts, finished = compare_statements(shop.runtime, shop.runtime.line("shop"), 1000)
    assert finished
    return counts


def lines(amount: str = "10", state: str = "ok", order: str = "O", no: str = "R") -> list[str]:
    return [f"{no}{n},{order}{n},{amount},2026-01-31,{state}" for n in range(REFUNDS)]


def cases(shop: Shop) -> list[str]:
    return [row.kind for row in shop.rows("SELECT kind FROM cases ORDER BY id")]


def results(shop: Shop, statement_id: int) -> set[str]:
    sql = "SELECT DISTINCT result FROM statement_lines WHERE statement_id = :id"
    return {row.result for row in shop.rows(sql, id=statement_id)}


def doubt(shop: Shop, statement_id: int) -> str:
    return str(shop.value("SELECT doubt FROM statements WHERE id = :id", id=statement_id))


def test_a_wrong_unit_is_one_finding_and_no_line_has_a_case(shop: Shop, read: Read) -> None:
    bill = read(*lines(), unit="yuan")
    assert cases(shop) == ["doubtful_bill"]
    assert doubt(shop, bill) == (
        f'{REFUNDS} of {REFUNDS} lines have a hundred times our amount: set unit = "fen"'
    )
    assert shop.value("SELECT count(*) FROM differences") == 0
    assert results(shop, bill) == {"differs"}
    for _ in range(2):
        assert read(*lines(), unit="yuan") == bill
    assert cases(shop) == ["doubtful_bill"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lines(amount="11"), "columns.amount"),
        (lines(order="P"), "columns.order_no"),
        (lines(state="no"), "succeeded and failed"),
        (lines(no="X"), "columns.refund_no"),
        (lines() * 3, "the file have its lines twice"),
    ],
)
def test_each_wrong_column_is_named(wrong: list[str], said: str, shop: Shop, read: Read) -> None:
    assert said in doubt(shop, read(*wrong))
    assert cases(shop) == ["doubtful_bill"]
    assert shop.value("SELECT count(*) FROM refunds WHERE due_at IS NOT NULL") == 0
    assert shop.value("SELECT count(*) FROM orders WHERE frozen_at IS NOT NULL") == 0


def test_without_a_number_a_wrong_unit_is_seen_by_the_order(shop: Shop, read: Read) -> None:
    unnumbered = {"columns": {"order_no": 2, "amount": 3, "at": 4}, "succeeded": [], "failed": []}
    assert "set unit" in doubt(shop, read(*lines(), unit="yuan", **unnumbered))


def test_once_the_setting_is_mended_the_same_file_is_compared(shop: Shop, read: Read) -> None:
    wrong = read(*lines(), unit="yuan")
    right = read(*lines())
    assert right != wrong
    assert results(shop, right) == {"agreed"}
    assert cases(shop) == ["doubtful_bill"]
    shop.wait(timedelta(days=1))
    assert read(*lines()) == right
    assert shop.value("SELECT completed_at FROM statements WHERE id = :id", id=right) is not None
    assert shop.value("SELECT whole_at FROM statements WHERE id = :id", id=wrong) is None
    assert cases(shop) == ["doubtful_bill"]


def test_what_is_read_wrongly_again_is_noted_in_the_same_case(shop: Shop, read: Read) -> None:
    read(*lines(amount="11"))
    read(*lines(amount="11"), unit="yuan")
    assert cases(shop) == ["doubtful_bill"]
    assert shop.value("SELECT count(*) FROM case_entries WHERE what = 'noted'") == 1


def test_a_person_may_have_it_compared_all_the_same(shop: Shop, read: Read) -> None:
    bill = read(*lines(amount="11"))
    accept(shop.runtime, bill, ANN)
    compare(shop)
    compare(shop)
    assert cases(shop) == ["doubtful_bill", *["amount_differs"] * REFUNDS]
    closed = shop.rows("SELECT who, reason FROM case_entries WHERE what = 'closed'")
    assert [(row.who, row.reason) for row in closed] == [("ann", "compared with the portal")]
    assert shop.value("SELECT count(*) FROM cases WHERE closed_at IS NULL") == REFUNDS
    with pytest.raises(Refused, match="waits for nobody"):
        accept(shop.runtime, bill, ANN)
    with pytest.raises(Refused, match="no statement 99"):
        accept(shop.runtime, 99, ANN)


def test_a_refund_that_came_while_its_bill_was_stopped_is_found(shop: Shop, read: Read) -> None:
    bill = read(*lines(no="X"))
    intent = shop.claim(shop.accept(refund_no="X0", order_no="O0").order_id)
    assert intent is not None
    settle(shop.runtime, intent, Outcome(verdict=Verdict.SUCCEEDED))
    accept(shop.runtime, bill, ANN)
    compare(shop)
    assert cases(shop) == ["doubtful_bill", *["unrecorded"] * (REFUNDS - 1)]


def test_fewer_that_differ_open_a_case_each(shop: Shop, read: Read) -> None:
    wrong, right = lines(amount="11"), lines()
    read(*wrong[:3], *right[3:])
    assert cases(shop) == ["amount_differs"] * 3


def test_those_at_once_find_it_once(shop: Shop, read: Read, tmp_path: Path) -> None:
    path = tmp_path / "bill.csv"
    path.write_text("".join(f"{line}\n" for line in lines(amount="11")))
    import_statement(shop.runtime, "shop", path)
    race(lambda _: compare(shop))
    assert cases(shop) == ["doubtful_bill"]


def test_a_bill_of_other_days_misses_nothing_of_the_day_that_it_names(
    shop: Shop, read: Read
) -> None:
    other = "X1,O77,10,2026-01-30,no"
    shop.wait(timedelta(days=2))
    bill = read(other)
    assert doubt(shop, bill).startswith(f"{REFUNDS} of {REFUNDS} refunds paid in its time")
    assert cases(shop) == ["doubtful_bill"]
    before = DAY - timedelta(days=1)
    again = read(other, window=day_window(before, before))
    assert again != bill
    assert shop.value("SELECT completed_at FROM statements WHERE id = :id", id=again) is not None
    assert cases(shop) == ["doubtful_bill"]


def test_what_was_left_behind_lists_nothing(shop: Shop, read: Read) -> None:
    """Lines that are read anew as others do not hide that a refund is in no bill."""
    wrong = [line.replace("R5", "X5") for line in lines()]
    bill = read(*lines(), unit="yuan")
    shop.execute("UPDATE statements SET whole_at = NULL, digest = 'left' WHERE id = :id", id=bill)
    read(*wrong, name="other.csv")
    shop.wait(timedelta(days=2))
    read(*wrong, name="other.csv")
    assert sorted(cases(shop)) == ["doubtful_bill", "missing", "unrecorded"]


def test_a_run_goes_on_without_a_bill_that_is_stopped(shop: Shop, read: Read) -> None:
    read(*lines(amount="11"))
    shop.execute("UPDATE refunds SET asked_at = :now", now=shop.clock.now + timedelta(days=1))
    run_id = begin_by_hand(shop.runtime, "shop", DAY)
    for _ in range(20):
        advanced = advance(shop.runtime, run_id)
        if advanced.ended:
            break
    assert advanced.ended
    assert advanced.run.counts.get("cases", 0) == 0
    assert advanced.run.counts["stopped"] == 1
