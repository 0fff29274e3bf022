"""After a restore nothing is sent before what the ledger may have lost was asked about."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from refundry import State
from tests.integration.builders import MINUTE, Shop
from tests.integration.conftest import MakeShop
from tests.simulator.harness import Sim
from worker.errors import Refused
from worker.ledger.engine import Ledger
from worker.ledger.refunds import order_and_refund
from worker.refund import Outcome, Verdict
from worker.steps.command import cancel_refund, resubmit_refund
from worker.steps.holds import hold_order
from worker.steps.poll import Claimed, apply, poll
from worker.steps.query_first import begin, end
from worker.steps.settle import settle
from worker.steps.submit import call_provider, submit
from worker.steps.sweep import sweep

GRACE = timedelta(seconds=326)


class Restored:
    """A shop at a provider of its own, whose ledger is told that it was restored."""

    def __init__(self, shop: Shop, sim: Sim, number: str) -> None:
        self.shop, self.sim, self.runtime, self.number = shop, sim, shop.runtime, number

    def accept(self, name: str = "a", **more: Any) -> int:
        """A refund of 30 fen on one order; the order's id."""
        job = {"order_no": f"O{self.number}", "refund_no": self.number + name, "amount": 30}
        return self.shop.accept(**job | more).order_id

    def lost(self, name: str = "a", **plan: Any) -> None:
        """Its provider was sent it after the backup."""
        if plan:
            self.sim.plan("quickpay", self.number + name, **plan)
        self.sim.quick(self.number + name, order_no=f"O{self.number}")

    def begin(self) -> None:
        begin(self.runtime, [], "the backup of noon")

    def ask(self, times: int = 1, every: timedelta = 10 * MINUTE) -> list[int]:
        """Let so much time pass and ask, again and again; the orders that have work to do then."""
        wake: list[int] = []
        for _ in range(times):
            self.shop.wait(every)
            wake += poll(self.runtime).wake
        return wake

    def state(self, name: str = "a") -> State:
        return self.shop.state(self.number + name)

    def submits(self, name: str = "a") -> int:
        return len(self.sim.log(event="submit_in", refund=self.number + name))

    def cases(self) -> list[str]:
        return [row.kind for row in self.shop.rows("SELECT kind FROM cases ORDER BY id")]

    def kinds(self, name: str = "a") -> list[str]:
        sql = (
            "SELECT kind FROM events JOIN refunds ON refunds.id = refund_id "
            "WHERE refund_no = :no ORDER BY seq"
        )
        return [row.kind for row in self.shop.rows(sql, no=self.number + name)]


@pytest.fixture
def restored(ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str) -> Restored:
    return Restored(make_shop(ledger, sim.url), sim, number)


def test_what_was_not_sent_goes_once_that_is_certain(restored: Restored) -> None:
    order_id = restored.accept()
    restored.begin()
    restored.ask(times=5, every=MINUTE)  # all before the grace is over
    assert restored.kinds() == ["accepted"]
    assert not submit(restored.runtime, order_id)
    restored.ask(times=2)
    submit(restored.runtime, order_id)
    assert (restored.state(), restored.submits()) == (State.QUEUED, 0)
    assert restored.ask() == [order_id]
    assert restored.kinds() == ["accepted", "not_found", "not_found", "cleared"]
    submit(restored.runtime, order_id)
    assert (restored.state(), restored.submits()) == (State.SUCCEEDED, 1)
    assert restored.shop.audit() == []


def test_what_was_executed_is_absorbed_and_not_sent_again(restored: Restored) -> None:
    order_id = restored.accept()
    restored.accept("b")
    restored.lost()
    restored.lost("b")
    restored.begin()
    restored.ask()
    assert (restored.state(), restored.state("b")) == (State.SUCCEEDED, State.SUCCEEDED)
    assert not submit(restored.runtime, order_id)
    assert (restored.submits(), restored.submits("b")) == (1, 1)
    assert restored.shop.value("SELECT refunded FROM orders") == 60
    assert restored.shop.audit() == []


def test_what_the_provider_knows_is_a_persons_until_it_says_how_it_ended(
    restored: Restored,
) -> None:
    order_id = restored.accept()
    restored.accept("b")
    restored.lost(fate="pending:6")
    restored.begin()
    restored.ask(times=4)
    assert (restored.state(), restored.cases()) == (State.QUEUED, ["lost_intent"])
    assert restored.kinds("b")[-1] == "cleared"
    submit(restored.runtime, order_id)
    assert (restored.submits(), restored.submits("b")) == (1, 0)
    with pytest.raises(Refused, match="known to the provider"):
        end(restored.runtime, "shop", even_so="compared")
    with pytest.raises(Refused, match="1 queued"):
        end(restored.runtime, "shop")
    restored.ask(times=4, every=timedelta(hours=1))
    assert restored.state() == State.SUCCEEDED
    submit(restored.runtime, order_id)
    assert (restored.submits(), restored.submits("b")) == (1, 1)
    assert restored.shop.audit() == []


def test_what_was_declined_has_failed_and_goes_when_somebody_asks_again(
    restored: Restored,
) -> None:
    order_id = restored.accept()
    restored.lost(fate=["decline", "succeed"])
    restored.begin()
    restored.ask(every=MINUTE)
    assert restored.state() == State.QUEUED  # a later attempt may be on its way
    restored.ask()
    assert restored.state() == State.FAILED
    assert restored.kinds() == ["accepted", "failed"]
    resubmit_refund(restored.runtime, "shop", restored.number + "a", 0)
    submit(restored.runtime, order_id)
    assert (restored.state(), restored.submits()) == (State.SUCCEEDED, 2)
    assert restored.shop.audit() == []


def test_an_old_decline_does_not_end_what_was_asked_for_again(restored: Restored) -> None:
    order_id = restored.accept()
    restored.lost(fate=["decline", "succeed"])
    restored.begin()
    restored.ask(times=2)
    resubmit_refund(restored.runtime, "shop", restored.number + "a", 0)
    again = restored.shop.claim(order_id)
    assert again is not None
    restored.shop.settle(again, Verdict.UNKNOWN)
    restored.ask(every=MINUTE)  # its book still has the old decline
    assert restored.state() == State.UNKNOWN


def failed(restored: Restored) -> int:
    """A refund that was declined before the backup; its order."""
    order_id = restored.accept()
    restored.sim.plan("quickpay", restored.number + "a", fate=["decline", "succeed"])
    submit(restored.runtime, order_id)
    assert restored.state() == State.FAILED
    return order_id


def test_a_resubmission_that_was_lost_stops_the_order_when_it_is_found(
    restored: Restored,
) -> None:
    order_id = failed(restored)
    restored.accept("b")
    restored.lost()
    restored.begin()
    assert restored.shop.claim(order_id) is None
    restored.ask()
    assert restored.cases() == ["contradicted"]
    restored.ask(times=4)
    submit(restored.runtime, order_id)
    assert restored.submits("b") == 0
    assert restored.shop.audit() == []


def test_what_failed_is_resubmitted_once_it_is_cleared(restored: Restored) -> None:
    order_id = failed(restored)
    restored.begin()
    restored.accept("b")
    restored.ask(every=MINUTE)
    with pytest.raises(Refused, match="may have been sent"):
        resubmit_refund(restored.runtime, "shop", restored.number + "a", 1)
    restored.ask()
    assert restored.kinds()[-2:] == ["failed", "cleared"]
    resubmit_refund(restored.runtime, "shop", restored.number + "a", 1)
    restored.ask(times=3)
    submit(restored.runtime, order_id)
    assert (restored.state(), restored.submits()) == (State.SUCCEEDED, 2)
    assert restored.state("b") == State.SUCCEEDED
    assert restored.shop.audit() == []


def test_what_is_unknown_goes_again_after_answers_of_after_the_restore_alone(
    restored: Restored,
) -> None:
    intent = restored.shop.claim(restored.accept())
    assert intent is not None
    restored.shop.settle(intent, Verdict.UNKNOWN)
    restored.ask(times=2)
    assert restored.shop.value("SELECT not_found FROM refunds") == 2
    restored.begin()
    assert restored.shop.value("SELECT not_found FROM refunds") == 0
    restored.ask(every=GRACE - MINUTE)
    assert restored.shop.value("SELECT not_found FROM refunds") == 0
    restored.ask(times=2)
    assert restored.state() == State.UNKNOWN
    restored.ask()
    assert (restored.state(), restored.kinds()[-1]) == (State.QUEUED, "requeued")
    submit(restored.runtime, intent.order.id)
    assert (restored.state(), restored.submits()) == (State.SUCCEEDED, 1)
    assert restored.shop.audit() == []


def test_a_question_from_before_the_restore_clears_nothing(restored: Restored) -> None:
    taken = restored.accept()
    refund_id = restored.shop.value("SELECT id FROM refunds")
    with restored.runtime.ledger.read() as connection:
        order, refund = order_and_refund(connection, refund_id)
    line = restored.runtime.lines["shop"]
    early = Claimed(order=order, refund=refund, line=line, after_grace=True)
    restored.begin()
    for verdict in (Verdict.NOT_FOUND, Verdict.REJECTED):
        for _ in range(4):
            restored.shop.wait(10 * MINUTE)
            apply(restored.runtime, replace(early), Outcome(verdict=verdict))
    assert restored.kinds() == ["accepted"]
    assert restored.shop.claim(taken) is None


def test_what_is_accepted_afterwards_is_asked_about_first(restored: Restored) -> None:
    restored.begin()
    restored.shop.wait(60 * MINUTE)
    restored.lost()
    order_id = restored.accept()
    assert not submit(restored.runtime, order_id)
    restored.ask(every=timedelta())
    assert (restored.state(), restored.submits()) == (State.SUCCEEDED, 1)


def test_an_attempt_that_was_begun_before_is_not_sent(restored: Restored) -> None:
    intent = restored.shop.claim(restored.accept())
    assert intent is not None
    restored.begin()
    outcome = call_provider(restored.runtime, intent)
    assert outcome.verdict is Verdict.NEVER_SENT
    settle(restored.runtime, intent, outcome)
    assert (restored.state(), restored.submits()) == (State.QUEUED, 0)
    assert restored.shop.claim(intent.order.id) is None
    assert restored.shop.audit() == []


def test_nothing_that_may_have_been_sent_is_canceled_or_held_back(restored: Restored) -> None:
    restored.accept()
    restored.begin()
    with pytest.raises(Refused, match="may have been sent"):
        cancel_refund(restored.runtime, "shop", restored.number + "a")
    with pytest.raises(Refused, match="may have been sent"):
        hold_order(restored.runtime, "shop", f"O{restored.number}")
    restored.ask(times=3)
    hold_order(restored.runtime, "shop", f"O{restored.number}")
    cancel_refund(restored.runtime, "shop", restored.number + "a")
    assert restored.state() == State.CANCELED


def test_it_ends_once_nothing_is_left_that_may_be_under_way(restored: Restored) -> None:
    with pytest.raises(Refused, match="does not ask first"):
        end(restored.runtime, "shop")
    order_id = failed(restored)
    restored.accept("b")
    restored.begin()
    with pytest.raises(Refused, match="1 failed, 1 queued"):
        end(restored.runtime, "shop")
    restored.ask(times=3)
    end(restored.runtime, "shop")
    restored.accept("c")
    submit(restored.runtime, order_id)
    assert (restored.state("b"), restored.state("c")) == (State.SUCCEEDED, State.SUCCEEDED)


def test_it_does_not_end_before_what_was_on_its_way_has_arrived(restored: Restored) -> None:
    restored.begin()
    restored.shop.wait(GRACE - MINUTE)
    with pytest.raises(Refused, match="may arrive until"):
        end(restored.runtime, "shop")
    restored.shop.wait(MINUTE)
    end(restored.runtime, "shop")


def test_a_second_restore_begins_anew(restored: Restored) -> None:
    order_id = restored.accept()
    restored.begin()
    restored.ask(times=3)
    assert restored.kinds()[-1] == "cleared"
    restored.begin()
    assert restored.shop.claim(order_id) is None
    restored.ask(times=3)
    assert restored.shop.claim(order_id) is not None
    assert restored.shop.audit() == []


def test_accounts_of_one_merchant_ask_first_together(ledger: Ledger, make_shop: MakeShop) -> None:
    both = {"merchant": "one"}
    shop = make_shop(ledger, shop=both, other=both, third={})
    begun = begin(shop.runtime, ["shop"], "restored")
    assert {one.account for one in begun} == {"shop", "other"}
    shop.accept()
    shop.wait(60 * MINUTE)
    with pytest.raises(Refused, match="1 queued"):
        end(shop.runtime, "other")
    assert shop.claim(shop.accept(account="third", order_no="O2", refund_no="R2").order_id)
    with pytest.raises(Refused, match="no account nobody"):
        begin(shop.runtime, ["nobody"], "restored")


def test_where_nobody_can_be_asked_a_person_clears(ledger: Ledger, make_shop: MakeShop) -> None:
    shop = make_shop(ledger, shop={"query": False})
    order_id = shop.accept().order_id
    begin(shop.runtime, [], "restored")
    assert sweep(shop.runtime).wake == [order_id]
    assert shop.claim(order_id) is None
    assert shop.value("SELECT kind FROM cases") == "unaskable"
    with pytest.raises(Refused, match="1 queued"):
        end(shop.runtime, "shop")
    end(shop.runtime, "shop", even_so="Li has compared the statement of the 31st")
    assert "Li has compared" in str(shop.value("SELECT detail FROM events WHERE kind = 'cleared'"))
    assert order_id in sweep(shop.runtime).wake
    assert shop.claim(order_id) is not None
    assert shop.audit() == []


def test_the_audit_sees_what_was_sent_without_being_asked_about(restored: Restored) -> None:
    order_id = restored.accept()
    restored.begin()
    restored.ask(times=3)
    submit(restored.runtime, order_id)
    restored.shop.execute("UPDATE refunds SET cleared_at = NULL")
    assert {found.promise for found in restored.shop.audit()} == {"I1", "I7"}
