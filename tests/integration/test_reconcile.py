"""Runs of reconciliation: asking, figures, bills, audit; run twice, at once, and late."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.builders import NOW, Shop, race
from tests.integration.conftest import MakeShop
from tests.providers.harness import OWN_OPTIONS
from tests.simulator.harness import Sim
from worker.errors import Refused
from worker.ledger.engine import Ledger
from worker.ledger.reconciliations import Run
from worker.refund import Outcome, Verdict
from worker.steps import reconcile as step
from worker.steps.poll import poll
from worker.steps.reconcile import advance, advance_on, begin_by_hand, begin_due
from worker.steps.settle import settle
from worker.steps.statements import import_statement
from worker.steps.submit import submit

DAY = date(2026, 1, 31)
PAID_AT = (datetime.now(UTC) - timedelta(days=1)).isoformat()


@pytest.fixture
def shop(ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str) -> Shop:
    """A shop at the simulated QuickPay, with numbers of its own."""
    shop = make_shop(ledger, sim.url)
    shop.usual |= {"order_no": f"O{number}", "refund_no": number}
    return shop


def reconcile(shop: Shop, **scope: Any) -> Run:
    """A run by hand from its beginning to its end; the questions are asked in between."""
    run_id = begin_by_hand(shop.runtime, "shop", **{"day": DAY, **scope})
    for _ in range(50):
        advanced = advance(shop.runtime, run_id)
        if advanced.ended:
            return advanced.run
        if advanced.waits:
            shop.wait(timedelta(seconds=1))
            poll(shop.runtime)
    raise AssertionError(f"it does not end: {advanced}")


def cases(shop: Shop) -> list[str]:
    return [row.kind for row in shop.rows("SELECT kind FROM cases ORDER BY id")]


def executed(shop: Shop, **changed: Any) -> None:
    """A refund that the provider has executed."""
    submit(shop.runtime, shop.accept(**changed).order_id)
    shop.wait(timedelta(hours=1))


class TestAsking:
    def test_every_final_refund_of_the_day_is_asked_about_again(
        self, shop: Shop, sim: Sim, number: str
    ) -> None:
        executed(shop)
        sim.plan("quickpay", f"{number}B", fate="decline")
        executed(shop, refund_no=f"{number}B")
        before = sim.entry(number)["queries"]
        run = reconcile(shop)
        assert (run.counts["refunds"], run.counts["asked"]) == (2, 2)
        assert sim.entry(number)["queries"] == before + 1
        assert (cases(shop), run.counts["cases"]) == ([], 0)
        assert run.counts["audited"] == 1

    def test_only_some_are_due_at_a_time_for_open_refunds_are_asked_about_too(
        self, shop: Shop, number: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(step, "BATCH", 2)
        for other in range(3):
            executed(shop, refund_no=f"{number}{other}", order_no=f"O{number}{other}")
        shop.execute("UPDATE refunds SET due_at = NULL")
        run_id = begin_by_hand(shop.runtime, "shop", DAY)
        for _ in range(2):
            assert advance(shop.runtime, run_id).waits
            assert shop.value("SELECT count(*) FROM refunds WHERE due_at IS NOT NULL") == 2
        assert reconcile(shop).counts["asked"] == 3

    def test_a_refund_of_another_day_is_not(self, shop: Shop, sim: Sim, number: str) -> None:
        executed(shop)
        before = sim.entry(number)["queries"]
        run = reconcile(shop, day=DAY - timedelta(days=1))
        assert run.counts["refunds"] == 0
        assert sim.entry(number)["queries"] == before

    def test_what_the_provider_executed_and_we_call_failed_is_found_by_asking(
        self, shop: Shop, sim: Sim, number: str
    ) -> None:
        intent = shop.claim(shop.accept().order_id)
        assert intent is not None
        sim.quick(number, 10)
        settle(shop.runtime, intent, Outcome(verdict=Verdict.REJECTED))
        for _ in range(2):
            reconcile(shop)
            assert cases(shop) == ["contradicted"]
            assert shop.value("SELECT frozen_at FROM orders") is not None

    def test_a_provider_that_gives_no_answer_holds_a_run_up_for_an_hour(
        self, ledger: Ledger, make_shop: MakeShop
    ) -> None:
        shop = make_shop(ledger)  # nobody is there
        intent = shop.claim(shop.accept().order_id)
        assert intent is not None
        settle(shop.runtime, intent, Outcome(verdict=Verdict.SUCCEEDED))
        run_id = begin_by_hand(shop.runtime, "shop", DAY)
        assert [one.waits for one in advance_on(shop.runtime, run_id)] == [True]
        shop.wait(timedelta(hours=1, seconds=1))
        (*_, last) = advance_on(shop.runtime, run_id)
        assert last.ended
        assert (last.run.counts["refunds"], last.run.counts["asked"]) == (1, 0)

    def test_one_order_is_reconciled_alone(self, shop: Shop, sim: Sim, number: str) -> None:
        executed(shop)
        executed(shop, refund_no=f"{number}B", order_no=f"O{number}B")
        before = sim.entry(f"{number}B")["queries"]
        run = reconcile(shop, day=None, order_no=f"O{number}")
        assert (run.counts["asked"], run.counts["audited"]) == (1, 1)
        assert sim.entry(f"{number}B")["queries"] == before

    def test_an_order_or_account_that_is_not_there_is_named(self, shop: Shop) -> None:
        with pytest.raises(Refused, match="no order 'O9'"):
            begin_by_hand(shop.runtime, "shop", order_no="O9")
        with pytest.raises(Refused, match="nobody"):
            begin_by_hand(shop.runtime, "nobody")


class TestDaily:
    def begun(self, shop: Shop) -> list[str]:
        rows = shop.rows("SELECT account, since FROM reconciliations ORDER BY id")
        return [f"{row.account} {str(row.since)[:13]}" for row in rows]

    def test_a_day_has_one_run_of_each_account_however_often_beat_ticks(
        self, ledger: Ledger, make_shop: MakeShop
    ) -> None:
        shop = make_shop(ledger, a={}, b={}, c={"reconcile": False})
        race(lambda _: begin_due(shop.runtime))
        begin_due(shop.runtime)
        assert sorted(self.begun(shop)) == ["a 2026-01-29 16", "b 2026-01-29 16"]

    def test_the_day_is_due_some_hours_after_its_end(self, shop: Shop) -> None:
        shop.clock.now = datetime(2026, 1, 31, 18, 59, tzinfo=UTC)
        begin_due(shop.runtime)
        assert self.begun(shop) == ["shop 2026-01-29 16"]
        shop.wait(timedelta(minutes=1))
        begin_due(shop.runtime)
        assert self.begun(shop) == ["shop 2026-01-29 16", "shop 2026-01-30 16"]

    def test_days_without_a_beat_are_made_up_for_up_to_a_week(self, shop: Shop) -> None:
        begin_due(shop.runtime)
        shop.wait(timedelta(days=3))
        begin_due(shop.runtime)
        assert len(self.begun(shop)) == 4
        shop.wait(timedelta(days=30))
        begin_due(shop.runtime)
        assert len(self.begun(shop)) == 4 + 7

    def test_a_run_that_somebody_left_is_taken_up_when_its_claim_is_over(self, shop: Shop) -> None:
        (run_id,) = begin_due(shop.runtime)
        shop.execute(
            "UPDATE reconciliations SET claimed_until = :later", later=NOW + timedelta(minutes=5)
        )
        assert advance(shop.runtime, run_id).waits
        shop.wait(timedelta(minutes=5))
        (*_, last) = advance_on(shop.runtime, run_id)
        assert last.ended
        assert begin_due(shop.runtime) == []

    def test_workers_at_once_end_a_run_once(self, shop: Shop) -> None:
        (run_id,) = begin_due(shop.runtime)
        race(lambda _: list(advance_on(shop.runtime, run_id)))
        (*_, last) = advance_on(shop.runtime, run_id)
        assert last.ended
        assert shop.value("SELECT phase FROM reconciliations") == "ended"


class TestFindings:
    def test_figures_that_differ_open_one_case(
        self, ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str
    ) -> None:
        own = {"provider": "baofu", "base_url": f"{sim.url}/bf/api", **OWN_OPTIONS["baofu"]}
        shop = make_shop(ledger, shop=own)
        shop.usual |= {"order_no": number, "reason": "returned", "paid_at": PAID_AT}
        sim.control("orders", [{"provider": "baofu", "order": number, "paid": 100}])
        executed(shop, refund_no=f"{number[:20]}A")
        poll(shop.runtime)
        assert reconcile(shop).counts["figures"] == 1
        assert cases(shop) == []
        sim.control("orders", [{"provider": "baofu", "order": number, "paid": 200}])
        for opened in (1, 0):
            assert reconcile(shop).counts["cases"] == opened
        assert cases(shop) == ["figures_differ"]
        assert shop.value("SELECT subject FROM cases") == f"order {number}"

    def test_figures_that_answers_have_left_count_once_they_are_newer_than_our_change(
        self, shop: Shop
    ) -> None:
        executed(shop)
        poll(shop.runtime)
        left = "UPDATE orders SET provider_refunded = 70, provider_left = 30, figures_at = :at"
        shop.execute(left, at=NOW)
        assert reconcile(shop).counts["figures"] == 0
        shop.execute(left, at=shop.clock.now)
        for opened in (1, 0):
            counts = reconcile(shop).counts
            assert (counts["figures"], counts["figures_differ"]) == (1, 1)
            assert counts["cases"] == opened
        shop.execute("UPDATE orders SET provider_refunded = 10, provider_left = 90")
        assert reconcile(shop).counts["figures_differ"] == 0
        assert cases(shop) == ["figures_differ"]

    def test_a_breach_opens_one_case(self, shop: Shop) -> None:
        executed(shop)
        poll(shop.runtime)
        shop.execute("UPDATE orders SET excess = 1")
        for opened in (1, 0):
            counts = reconcile(shop).counts
            assert (counts["breached"], counts["cases"]) == (1, opened)
        assert cases(shop) == ["breached"]

    def test_bills_are_compared_and_what_waits_is_asked_about(
        self, ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str, tmp_path: Path
    ) -> None:
        columns = {"refund_no": 1, "amount": 2, "state": 3, "at": 4}
        layout = {"columns": columns, "succeeded": ["ok"], "failed": ["no"], "unit": "fen"}
        shop = make_shop(ledger, sim.url, shop={"statement": layout})
        shop.usual |= {"order_no": f"O{number}", "refund_no": number}
        executed(shop)
        path = tmp_path / "bill.csv"
        path.write_text(f"{number},10,no,2026-01-31\n")
        import_statement(shop.runtime, "shop", path)
        run = reconcile(shop)
        assert cases(shop) == ["state_differs"]
        assert run.counts["state_differs"] == 1
        assert shop.value("SELECT run_id FROM differences") == run.id
        assert reconcile(shop).counts["cases"] == 0
        assert cases(shop) == ["state_differs"]
