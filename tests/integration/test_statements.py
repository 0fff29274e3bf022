"""Bills: imported once and whole, compared with the refunds; a case for every difference."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.builders import NOW, Shop, race
from tests.integration.conftest import MakeShop
from worker.errors import Refused
from worker.ledger.engine import Ledger
from worker.ledger.statements import statement_rows
from worker.refund import Outcome, Verdict
from worker.steps import statements as step
from worker.steps.cases import close
from worker.steps.people import Person
from worker.steps.reconcile import compare_statements
from worker.steps.settle import settle
from worker.steps.statements import Imported, Window, day_window, import_statement

#: Shanghai's day of the tests' time.
DAY = date(2026, 1, 31)
LAYOUT: dict[str, Any] = {
    "columns": {
        "refund_no": "refund",
        "provider_refund_no": "theirs",
        "order_no": "order",
        "amount": "amount",
        "at": "day",
        "state": "state",
    },
    "succeeded": ["ok"],
    "failed": ["no"],
    "unit": "fen",
    "complete_after_h": 1,
}
HEAD = "refund,theirs,order,amount,day,state\n"
Import = Callable[..., Imported]


@pytest.fixture
def shop(ledger: Ledger, make_shop: MakeShop) -> Shop:
    """A shop with a layout; its provider cannot be asked."""
    return make_shop(ledger, shop={"statement": LAYOUT, "query": False})


@pytest.fixture
def bill(shop: Shop, tmp_path: Path) -> Import:
    """Writes a bill's lines to a file and imports it; the lines are compared."""

    def make(
        *lines: str, name: str = "bill.csv", window: Window | None = None, **more: Any
    ) -> Imported:
        path = tmp_path / name
        path.write_text(HEAD + "".join(f"{line}\n" for line in lines))
        imported = import_statement(
            shop.runtime, "shop", path, window or day_window(DAY, DAY), **more
        )
        compare(shop)
        return imported

    return make


def compare(shop: Shop) -> dict[str, int]:
    counts, finished = compare_statements(shop.runtime, shop.runtime.line("shop"), 1000)
    assert finished
    return counts


def refund(
    shop: Shop, number: str, verdict: Verdict | None = Verdict.SUCCEEDED, **more: Any
) -> None:
    """A refund of 10 fen on order O1, from intake to its end."""
    order_id = shop.accept(refund_no=number, **more).order_id
    if verdict is None:
        return
    intent = shop.claim(order_id)
    assert intent is not None
    settle(shop.runtime, intent, Outcome(verdict=verdict, provider_refund_no=f"P{number}"))


def cases(shop: Shop) -> list[tuple[str, str]]:
    rows = shop.rows("SELECT kind, subject FROM cases ORDER BY id")
    return [(row.kind, row.subject) for row in rows]


def results(shop: Shop) -> list[str]:
    """Of every line; the bills' own counts are the same."""
    rows = shop.rows("SELECT result FROM statement_lines ORDER BY statement_id, number")
    found = [row.result for row in rows]
    with shop.runtime.ledger.read() as connection:
        bills = statement_rows(connection, None, 100)
    counted = sum((Counter(bill["results"]) for bill in bills), Counter())
    assert counted == Counter(result for result in found if result != "new")
    return found


class TestImport:
    def test_the_same_file_twice_is_one_statement(self, shop: Shop, bill: Import) -> None:
        first = bill("R1,,O1,10,2026-01-31,ok")
        again = bill("R1,,O1,10,2026-01-31,ok", name="copy.csv")
        assert (first.repeated, again.repeated) == (False, True)
        assert again.statement.id == first.statement.id
        assert (first.statement.lines, first.statement.paid) == (1, 10)
        assert len(results(shop)) == 1
        assert len(cases(shop)) == 1

    def test_an_import_that_was_cut_is_finished_by_the_next(
        self, shop: Shop, bill: Import, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(step, "CHUNK", 2)
        lines = [f"R{number},,O9,10,2026-01-31,ok" for number in range(5)]

        def kill(done: int, _lines: int) -> None:
            raise KeyboardInterrupt(done)

        with pytest.raises(KeyboardInterrupt):
            bill(*lines, progress=kill)
        compare(shop)
        assert results(shop) == ["new"] * 2  # nothing is compared with a part
        assert not bill(*lines).repeated
        assert results(shop) == ["not_ours"] * 5
        assert bill(*lines).repeated

    def test_imports_at_once_are_one(self, shop: Shop, tmp_path: Path) -> None:
        path = tmp_path / "bill.csv"
        path.write_text(HEAD + "".join(f"R{n},,O9,10,2026-01-31,ok\n" for n in range(50)))
        done = race(lambda _: import_statement(shop.runtime, "shop", path))
        assert len({one.statement.id for one in done}) == 1
        race(lambda _: compare(shop))
        assert results(shop) == ["not_ours"] * 50
        assert shop.value("SELECT count(*) FROM cases") == 50

    def test_a_file_with_a_wrong_line_leaves_nothing(self, shop: Shop, bill: Import) -> None:
        with pytest.raises(Refused, match=r"bill.csv: line 3 has no amount: '1.5' in fen"):
            bill("R1,,O1,10,2026-01-31,ok", "R2,,O1,1.5,2026-01-31,ok")
        assert shop.value("SELECT count(*) FROM statements") == 0

    def test_another_layout_does_not_finish_what_one_began(
        self, ledger: Ledger, make_shop: MakeShop, shop: Shop, bill: Import, tmp_path: Path
    ) -> None:
        bill("R1,,O1,10,2026-01-31,ok")
        shop.execute("UPDATE statements SET whole_at = NULL")
        other = make_shop(ledger, shop={"statement": LAYOUT | {"unit": "yuan"}})
        with pytest.raises(Refused, match="begun by another layout"):
            import_statement(other.runtime, "shop", tmp_path / "bill.csv")

    def test_a_file_that_changes_while_it_is_read_is_never_whole(
        self, shop: Shop, bill: Import, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begin = step._begin

        def changed(*arguments: Any) -> Any:
            (tmp_path / "bill.csv").write_text(f"{HEAD}R2,,O1,10,2026-01-31,ok\n")
            return begin(*arguments)

        with monkeypatch.context() as patched:
            patched.setattr(step, "_begin", changed)
            with pytest.raises(Refused, match="changed while it was read; import it again"):
                bill("R1,,O1,10,2026-01-31,ok")
        assert not bill("R1,,O1,10,2026-01-31,ok").repeated
        assert [subject for _, subject in cases(shop)] == ["R1"]

    def test_without_a_layout_or_a_file_or_days_it_says_what_to_do(
        self, ledger: Ledger, make_shop: MakeShop, shop: Shop, tmp_path: Path
    ) -> None:
        with pytest.raises(Refused, match="No such file"):
            import_statement(shop.runtime, "shop", tmp_path / "none.csv")
        (tmp_path / "empty.csv").write_text(HEAD)
        with pytest.raises(Refused, match="--since and --until"):
            import_statement(shop.runtime, "shop", tmp_path / "empty.csv")
        bare = make_shop(ledger, other={})
        with pytest.raises(Refused, match=r"no \[accounts.other.statement\]: write it"):
            import_statement(bare.runtime, "other", tmp_path / "empty.csv")


class TestMatching:
    def test_what_agrees_opens_no_case(self, shop: Shop, bill: Import) -> None:
        refund(shop, "R1")
        refund(shop, "R2", Verdict.REJECTED)
        refund(shop, "R3", amount=20)
        bill(
            "R1,,O1,10,2026-01-31,ok",
            "R2,,O1,10,2026-01-31,no",
            ",PR3,,20,2026-01-31,ok",
            "R7,,O7,10,2026-01-31,no",
        )
        assert results(shop) == ["agreed"] * 3 + ["no_money"]
        assert cases(shop) == []

    def test_without_a_number_order_amount_and_day_do_one_line_for_one_refund(
        self, shop: Shop, bill: Import
    ) -> None:
        refund(shop, "R1")
        refund(shop, "R2")
        bill(",,O1,10,2026-01-31,ok", "R2,,O1,10,2026-01-31,ok", ",,O1,10,2026-01-31,ok")
        assert results(shop) == ["agreed", "agreed", "unrecorded"]
        assert cases(shop) == [("unrecorded", "order O1, line 4 of bill.csv")]

    def test_a_line_that_names_another_refund_never_stands_for_ours(
        self, shop: Shop, bill: Import
    ) -> None:
        refund(shop, "R1")
        bill("BY-HAND,,O1,10,2026-01-31,ok")
        assert cases(shop) == [("unrecorded", "BY-HAND")]

    def test_every_difference_opens_one_case_of_its_kind(self, shop: Shop, bill: Import) -> None:
        for number in ("R1", "R2", "R3"):
            refund(shop, number)
        refund(shop, "R4", Verdict.REJECTED)
        refund(shop, "R5", None)
        refund(shop, "R6", order_no="O6")
        lines = (
            "R1,,O1,11,2026-01-31,ok",
            "R2,,O1,10,2026-01-31,no",
            "R3,,O1,10,2026-01-31,ok",
            "R3,,O1,10,2026-01-31,ok",
            "R4,,O1,10,2026-01-31,ok",
            "R5,,O1,10,2026-01-31,ok",
            "R6,,O7,10,2026-01-31,ok",
            "X1,,O1,10,2026-01-31,ok",
            "X2,,O8,10,2026-01-31,ok",
        )
        expected = [
            ("amount_differs", "R1"),
            ("doubled", "R3"),
            ("mismatched", "R6"),
            ("not_ours", "X2"),
            ("state_differs", "R2"),
            ("state_differs", "R4"),
            ("state_differs", "R5"),
            ("unrecorded", "X1"),
        ]
        bill(*lines)
        assert sorted(cases(shop)) == expected
        compare(shop)
        bill(*lines, name="again.csv")
        bill(*lines, "", name="another file with the same lines.csv")
        assert sorted(cases(shop)) == expected

    def test_a_case_that_was_closed_is_not_opened_again_by_the_same_difference(
        self, shop: Shop, bill: Import
    ) -> None:
        refund(shop, "R1")
        bill("R1,,O1,11,2026-01-31,ok")
        shop.execute("UPDATE cases SET closed_at = opened_at")
        bill("R1,,O1,11,2026-01-31,ok", "", name="month.csv")
        assert cases(shop) == [("amount_differs", "R1")]

    def test_what_they_paid_and_we_do_not_count_stops_the_order(
        self, shop: Shop, bill: Import
    ) -> None:
        refund(shop, "R1", Verdict.REJECTED)
        order_id = shop.accept(refund_no="R2").order_id
        bill("R1,,O1,10,2026-01-31,ok")
        assert shop.claim(order_id) is None
        assert shop.value("SELECT frozen_at FROM orders") is not None
        case_id = shop.value("SELECT id FROM cases")
        close(shop.runtime, case_id, Person(name="ann", reason="their bill is wrong"))
        assert shop.claim(order_id) is not None

    def test_a_bill_of_another_merchant_finds_nothing_of_ours(
        self, ledger: Ledger, make_shop: MakeShop, shop: Shop, tmp_path: Path
    ) -> None:
        refund(shop, "R1")
        both = make_shop(ledger, shop={}, other={"statement": LAYOUT, "query": False})
        path = tmp_path / "bill.csv"
        path.write_text(f"{HEAD}R1,,O1,10,2026-01-31,ok\n")
        import_statement(both.runtime, "other", path)
        compare_statements(both.runtime, both.runtime.line("other"), 1000)
        assert cases(shop) == [("not_ours", "R1")]


class TestAskedFirst:
    """Where the states differ and the provider can be asked, it is: the steps' own work."""

    @pytest.fixture
    def shop(self, ledger: Ledger, make_shop: MakeShop) -> Shop:
        return make_shop(ledger, shop={"statement": LAYOUT})

    def test_a_refund_is_made_due_and_its_line_waits(self, shop: Shop, bill: Import) -> None:
        refund(shop, "R1", Verdict.REJECTED)
        bill("R1,,O1,10,2026-01-31,ok")
        assert results(shop) == ["waiting"]
        assert cases(shop) == []
        due_at = shop.value("SELECT due_at FROM refunds")
        assert str(due_at)[:19] == NOW.strftime("%Y-%m-%d %H:%M:%S")

    def test_once_it_was_asked_in_vain_there_is_a_case(self, shop: Shop, bill: Import) -> None:
        refund(shop, "R1", Verdict.REJECTED)
        bill("R1,,O1,10,2026-01-31,ok")
        self.ask(shop)
        compare(shop)
        assert cases(shop) == []  # the answer may still be on its way
        shop.wait(timedelta(minutes=1))
        compare(shop)
        compare(shop)
        assert cases(shop) == [("state_differs", "R1")]

    def test_where_the_answer_contradicts_us_the_difference_is_noted_in_that_case(
        self, shop: Shop, bill: Import
    ) -> None:
        refund(shop, "R1", Verdict.REJECTED)
        bill("R1,,O1,10,2026-01-31,ok")
        shop.execute(
            "INSERT INTO cases (account, kind, subject, refund_id, owner, opened_at, due_at, "
            "evidence) SELECT 'shop', 'contradicted', refund_no, id, 'x', :now, :now, '{}' "
            "FROM refunds",
            now=NOW,
        )
        self.ask(shop)
        shop.wait(timedelta(minutes=1))
        compare(shop)
        assert cases(shop) == [("contradicted", "R1")]
        noted = shop.value("SELECT reason FROM case_entries WHERE what = 'noted'")
        assert noted == "state_differs: R1"

    def test_a_refund_that_comes_to_the_same_end_agrees(self, shop: Shop, bill: Import) -> None:
        order_id = shop.accept().order_id
        intent = shop.claim(order_id)
        assert intent is not None
        bill("R1,,O1,10,2026-01-31,ok")
        assert results(shop) == ["waiting"]
        settle(shop.runtime, intent, Outcome(verdict=Verdict.SUCCEEDED))
        compare(shop)
        assert (results(shop), cases(shop)) == (["agreed"], [])

    def test_after_a_day_without_an_answer_a_person_looks(self, shop: Shop, bill: Import) -> None:
        shop.claim(shop.accept().order_id)
        bill("R1,,O1,10,2026-01-31,ok")
        shop.wait(timedelta(days=1, seconds=1))
        compare(shop)
        assert cases(shop) == [("state_differs", "R1")]

    def ask(self, shop: Shop) -> None:
        shop.wait(timedelta(seconds=1))
        shop.execute("UPDATE refunds SET asked_at = :now, due_at = NULL", now=shop.clock.now)


class TestMissing:
    def test_ours_is_missed_once_the_bill_must_be_complete(self, shop: Shop, bill: Import) -> None:
        refund(shop, "R1")
        refund(shop, "R2")
        refund(shop, "R3", Verdict.REJECTED)
        bill("R1,,O1,10,2026-01-31,ok")
        assert cases(shop) == []
        shop.clock.now = datetime(2026, 1, 31, 17, tzinfo=UTC)  # an hour after Shanghai's midnight
        compare(shop)
        compare(shop)
        assert cases(shop) == [("missing", "R2")]

    def test_a_later_bill_that_has_it_is_noted_in_its_case(self, shop: Shop, bill: Import) -> None:
        refund(shop, "R1")
        bill("X,,O9,10,2026-01-31,no")
        shop.wait(timedelta(days=1))
        compare(shop)
        assert cases(shop) == [("missing", "R1")]
        window = day_window(DAY + timedelta(days=1), DAY + timedelta(days=1))
        bill("R1,,O1,10,2026-02-01,ok", name="next.csv", window=window)
        noted = shop.value("SELECT reason FROM case_entries WHERE what = 'noted'")
        assert noted == "explained by the bill next.csv (2)"
        assert shop.value("SELECT count(*) FROM differences WHERE explained_at IS NULL") == 0
        assert cases(shop) == [("missing", "R1")]

    def test_what_another_days_bill_has_is_not_missed(self, shop: Shop, bill: Import) -> None:
        refund(shop, "R1")
        window = day_window(DAY - timedelta(days=1), DAY - timedelta(days=1))
        bill("R1,,O1,10,2026-01-30,ok", name="before.csv", window=window)
        bill("X,,O9,10,2026-01-31,no")
        shop.wait(timedelta(days=1))
        compare(shop)
        assert cases(shop) == []
