"""Spacing, a cap on refunds of an order, and pause: what is kept back waits, and never fails."""

from datetime import datetime, timedelta

import pytest

from refundry import State
from tests.integration.builders import MINUTE, SOMEBODY, Shop
from tests.integration.conftest import MakeShop
from tests.simulator.harness import Sim
from worker.errors import Refused
from worker.ledger.accounts import entries_of_account
from worker.ledger.engine import Ledger
from worker.ledger.orders import get_order
from worker.ledger.reports import account_rows, list_rows
from worker.refund import Verdict
from worker.schedule import FUNDS_WAIT_S
from worker.steps.command import Tried, pause, resume, try_funds
from worker.steps.intent import Intent
from worker.steps.settle import settle
from worker.steps.submit import call_provider, submit
from worker.steps.sweep import sweep

SPACED = {"spacing_s": 60}


def first_of_two(shop: Shop) -> tuple[int, Intent]:
    """An order with two refunds, the first of which is claimed."""
    order_id = shop.accept().order_id
    shop.accept(refund_no="R2")
    intent = shop.claim(order_id)
    assert intent is not None
    return order_id, intent


def spaced_until(shop: Shop, order_id: int) -> datetime | None:
    with shop.runtime.ledger.read() as connection:
        return get_order(connection, order_id).spaced_until


def assert_goes_at(shop: Shop, order_id: int, at: datetime) -> None:
    """The next refund goes then and not a moment before, woken by the sweep."""
    assert spaced_until(shop, order_id) == at
    shop.clock.now = at - MINUTE / 60
    assert shop.claim(order_id) is None
    assert sweep(shop.runtime).wake == []
    shop.clock.now = at
    assert sweep(shop.runtime).wake == [order_id]
    assert shop.claim(order_id) is not None


@pytest.mark.parametrize("end", [Verdict.SUCCEEDED, Verdict.REJECTED])
def test_spacing_counts_from_when_the_refund_before_is_final(
    end: Verdict, ledger: Ledger, make_shop: MakeShop
) -> None:
    shop = make_shop(ledger, shop=SPACED)
    order_id, first = first_of_two(shop)
    shop.settle(first, Verdict.UNKNOWN)
    shop.wait(5 * MINUTE)
    assert spaced_until(shop, order_id) is None
    shop.settle(first, end)
    assert_goes_at(shop, order_id, shop.clock.now + MINUTE)


def test_spacing_counts_from_acceptance_where_that_lets_the_next_one_go(
    ledger: Ledger, make_shop: MakeShop
) -> None:
    shop = make_shop(ledger, shop=SPACED | {"serialisation": "until_accepted"})
    order_id, first = first_of_two(shop)
    shop.wait(MINUTE)
    shop.settle(first, Verdict.PENDING)
    goes_at = shop.clock.now + MINUTE
    shop.wait(MINUTE / 2)
    shop.settle(first, Verdict.SUCCEEDED)
    assert shop.state() == State.SUCCEEDED
    assert_goes_at(shop, order_id, goes_at)


def test_what_was_never_sent_is_no_reason_for_spacing(ledger: Ledger, make_shop: MakeShop) -> None:
    shop = make_shop(ledger, shop={"spacing_s": 86_400})
    order_id, first = first_of_two(shop)
    shop.settle(first, Verdict.NEVER_SENT)
    shop.wait(MINUTE)
    again = shop.claim(order_id)
    assert again is not None
    assert again.refund.refund_no == "R1"


def test_a_cap_that_is_lowered_refuses_new_refunds_and_fails_no_accepted_one(
    ledger: Ledger, make_shop: MakeShop
) -> None:
    order_id = make_shop(ledger).accept().order_id
    make_shop(ledger).accept(refund_no="R2")
    shop = make_shop(ledger, shop={"max_refunds_per_order": 1})
    assert shop.refused(refund_no="R3") == "too_many_refunds"
    assert shop.accept().repeated
    for verdict in (Verdict.NEVER_SENT, Verdict.SUCCEEDED, Verdict.SUCCEEDED):
        shop.wait(MINUTE)
        intent = shop.claim(order_id)
        assert intent is not None
        shop.settle(intent, verdict)
    assert [shop.state(number) for number in ("R1", "R2")] == [State.SUCCEEDED] * 2
    assert shop.audit() == []


def test_a_pause_between_the_claim_and_the_first_byte_sends_nothing_and_loses_nothing(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    shop = make_shop(ledger, sim.url)
    order_id = shop.accept(order_no=f"O{number}", refund_no=number).order_id
    intent = shop.claim(order_id)
    assert intent is not None
    pause(shop.runtime.ledger, "shop", SOMEBODY)
    settle(shop.runtime, intent, call_provider(shop.runtime, intent))
    shop.wait(MINUTE)
    submit(shop.runtime, order_id)
    assert shop.state(number) == State.QUEUED
    assert sim.log(event="submit_in", refund=number) == []
    resume(shop.runtime.ledger, "shop", SOMEBODY)
    assert sweep(shop.runtime).wake == [order_id]
    submit(shop.runtime, order_id)
    assert shop.state(number) == State.SUCCEEDED
    assert sim.entry(number)["executions"] == 1
    attempts = shop.rows("SELECT status FROM attempts ORDER BY number")
    assert [row.status for row in attempts] == ["never_sent", "succeeded"]
    assert shop.audit() == []


def test_what_the_balance_is_short_of_waits_keeps_its_turn_and_goes_under_the_same_number(
    ledger: Ledger, make_shop: MakeShop
) -> None:
    shop = make_shop(ledger, shop={"funds_same_number": True})
    order_id, first = first_of_two(shop)
    shop.settle(first, Verdict.FUNDS)
    assert [shop.state(number) for number in ("R1", "R2")] == [State.QUEUED] * 2
    with ledger.read() as connection:
        (shown,) = account_rows(connection, shop.clock.now)
    amount = first.refund.amount
    assert (shown.waiting, shown.waiting_amount) == (2, 2 * amount)
    assert (shown.short_of_funds, shown.short_of_funds_amount) == (1, amount)
    assert shop.claim(order_id) is None
    shop.wait(2 * FUNDS_WAIT_S * MINUTE / 60)
    again = shop.claim(order_id)
    assert again is not None
    assert (again.refund.refund_no, again.number) == ("R1", 2)
    shop.settle(again, Verdict.SUCCEEDED)
    with ledger.read() as connection:
        (shown,) = account_rows(connection, shop.clock.now)
    assert (shown.waiting, shown.short_of_funds, shown.short_of_funds_amount) == (1, 0, 0)
    assert shop.audit() == []


def short(shop: Shop, order_id: int) -> timedelta:
    """The balance is short of the order's refund once more; how long that waits."""
    intent = shop.claim(order_id)
    assert intent is not None
    shop.settle(intent, Verdict.FUNDS)
    with shop.runtime.ledger.read() as connection:
        (row,) = account_rows(connection, shop.clock.now)
        (listed,) = list_rows(connection, None, None, 10)
    assert row.funds_next_at is not None
    assert listed.due_at == row.funds_next_at
    wait = row.funds_next_at - shop.clock.now
    shop.clock.now = row.funds_next_at
    return wait


def test_the_longer_the_balance_is_short_the_longer_a_refund_waits_until_it_is_filled_up(
    ledger: Ledger, make_shop: MakeShop
) -> None:
    shop = make_shop(ledger, shop={"funds_same_number": True})
    order_id = shop.accept().order_id
    waits = [short(shop, order_id) // MINUTE for _ in range(7)]
    for wait, wanted in zip(waits, (15, 30, 60, 120, 240, 240, 240), strict=True):
        assert wanted <= wait <= wanted * 1.1
    short(shop, order_id)
    shop.clock.now -= MINUTE
    assert shop.claim(order_id) is None
    assert try_funds(shop.runtime.ledger, "shop", SOMEBODY) == Tried(refunds=1, amount=10)
    assert sweep(shop.runtime).wake == [order_id]
    shop.wait(MINUTE)
    assert 15 * MINUTE <= short(shop, order_id) <= 17 * MINUTE
    with shop.runtime.ledger.read() as connection:
        (entry,) = entries_of_account(connection, "shop", 10)
    assert (entry["who"], entry["what"], entry["reason"]) == ("li", "funded", "test")
    assert shop.audit() == []


def test_filling_up_a_balance_moves_nothing_else(ledger: Ledger, make_shop: MakeShop) -> None:
    shop = make_shop(ledger, shop={"funds_same_number": True}, bistro={"funds_same_number": True})
    for account, verdict in (("shop", Verdict.BUSY), ("bistro", Verdict.FUNDS)):
        intent = shop.claim(shop.accept(account=account).order_id)
        assert intent is not None
        shop.settle(intent, verdict)
    due = shop.rows("SELECT due_at FROM refunds ORDER BY id")
    assert try_funds(shop.runtime.ledger, "shop", SOMEBODY) == Tried(refunds=0, amount=0)
    assert shop.rows("SELECT due_at FROM refunds ORDER BY id") == due
    with pytest.raises(Refused):
        try_funds(shop.runtime.ledger, "nobody", SOMEBODY)
