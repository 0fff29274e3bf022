"""What is settled and begun in one transaction is what T3 and then T1 would have written."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from config.accounts import LEASE_MARGIN_S
from refundry import State
from tests.integration.builders import SOMEBODY, Shop
from tests.integration.conftest import MakeShop
from tests.simulator.harness import Sim
from worker.ledger.engine import Ledger
from worker.refund import Outcome, Verdict
from worker.runtime import suspended_clock
from worker.steps.command import cancel_refund, pause
from worker.steps.intent import Intent
from worker.steps.relay import settle_and_begin
from worker.steps.submit import WORK_S, submit

ACCEPTED = {"serialisation": "until_accepted"}
#: Accounts that go one of the two ways each.
SETTINGS: dict[str, dict[str, Any]] = {
    "final": {},
    "accepted": ACCEPTED,
    "spaced": ACCEPTED | {"spacing_s": 30},
    "large": ACCEPTED | {"approval_above": 10},
    "limited": ACCEPTED | {"rate_limit": "1000/minute"},
}
#: After these the order goes on, where it does so once a refund is accepted.
GOES_ON = {Verdict.PENDING, Verdict.SUCCEEDED, Verdict.REJECTED}


def as_ever(shop: Shop, account: str) -> None:
    """Nothing else happens."""


def paused(shop: Shop, account: str) -> None:
    pause(shop.runtime.ledger, account, SOMEBODY)


def canceled(shop: Shop, account: str) -> None:
    cancel_refund(shop.runtime, account, "R2")


def suspected(shop: Shop, account: str) -> None:
    """Other orders' calls were not answered: one more, and the breaker opens."""
    shop.execute("UPDATE accounts SET failures = 4 WHERE name = :name", name=account)


def broken(shop: Shop, account: str) -> None:
    """The breaker has opened."""
    sql = "UPDATE accounts SET failures = 5, breaker_until = :until WHERE name = :name"
    shop.execute(sql, until=shop.clock.now.replace(year=2999), name=account)


MEANWHILE = (as_ever, paused, canceled, suspected, broken)


@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_the_short_way_writes_what_the_long_way_writes(
    meanwhile: Callable[[Shop, str], None], verdict: Verdict, ledger: Ledger, make_shop: MakeShop
) -> None:
    accounts = {way + name: own for name, own in SETTINGS.items() for way in ("long-", "short-")}
    shop = make_shop(ledger, **accounts)
    outcome = Outcome(verdict=verdict)
    for name in SETTINGS:
        long, short = sent(shop, f"long-{name}"), sent(shop, f"short-{name}")
        meanwhile(shop, long.refund.account)
        meanwhile(shop, short.refund.account)
        random.seed(0)  # waits are jittered
        has_work = shop.settle(long, verdict)
        by_hand = shop.claim(long.order.id) if has_work else None
        random.seed(0)
        settled = settle_and_begin(shop.runtime, short, outcome, suspended_clock())
        assert settled.has_work == has_work
        if name == "accepted":
            goes_on = meanwhile in (as_ever, canceled) and verdict in GOES_ON
            assert (settled.begun is not None) == goes_on
        if name == "limited":  # Redis is asked while no transaction is open
            assert settled.begun is None
        next_one = settled.begun or (has_work and shop.claim(short.order.id)) or None
        assert said(next_one) == said(by_hand)
        assert rows(shop, f"short-{name}") == rows(shop, f"long-{name}")
    assert shop.audit() == []


def sent(shop: Shop, account: str) -> Intent:
    """The first of an order's three refunds, the second of which is large."""
    for number, amount in enumerate((10, 11, 10), start=1):
        job = {"account": account, "refund_no": f"R{number}", "amount": amount}
        order_id = shop.accept(**job).order_id
    intent = shop.claim(order_id)
    assert intent is not None
    return intent


def said(intent: Intent | None) -> Any:
    """What an intent tells its sender, but for the ids and the account's name."""
    if intent is None:
        return None
    refund, order = intent.refund, intent.order
    own = (refund.refund_no, refund.standing, intent.number, intent.started_at, intent.breaker)
    return *own, order.order_no, order.order_amount, order.paid_amount


def rows(shop: Shop, account: str) -> list[Any]:
    """All that the ledger has of an account's order, but for the ids."""
    of = "JOIN refunds r ON r.id = t.refund_id WHERE r.account = :account"
    wanted = (
        "SELECT * FROM orders WHERE id IN (SELECT order_id FROM refunds WHERE account = :account)",
        "SELECT * FROM refunds WHERE account = :account ORDER BY id",
        f"SELECT t.* FROM attempts t {of} ORDER BY t.refund_id, t.number",
        f"SELECT t.* FROM events t {of} AND t.seq > 1 ORDER BY t.refund_id, t.seq",
        f"SELECT t.kind, r.refund_no FROM cases t {of} ORDER BY t.kind, r.refund_no",
        "SELECT * FROM accounts WHERE name = :account",
    )
    unlike = {"id", "order_id", "refund_id", "account", "merchant", "fingerprint", "name"}
    return [
        {name: value for name, value in row._mapping.items() if name not in unlike}
        for sql in wanted
        for row in shop.rows(sql, account=account)
    ]


def test_one_message_sends_an_order_s_refunds_one_after_the_other(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    shop = make_shop(ledger, sim.url, shop=ACCEPTED)
    numbers = [f"{number}x{turn}" for turn in range(5)]
    (order_id,) = {shop.accept(order_no=number, refund_no=no).order_id for no in numbers}
    assert not submit(shop.runtime, order_id)
    seen = sim.log(event="submit_in", order=number)
    assert [(event["refund"], event["overlap"]) for event in seen] == [(no, []) for no in numbers]
    assert [shop.state(no) for no in numbers] == [State.SUCCEEDED] * 5
    assert shop.audit() == []


def test_a_message_hands_an_order_on_after_its_time(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.steps.submit.WORK_S", 0)
    shop = make_shop(ledger, sim.url)
    numbers = [f"{number}x{turn}" for turn in range(3)]
    (order_id,) = {shop.accept(order_no=number, refund_no=no).order_id for no in numbers}
    for done in (1, 2, 3):
        assert submit(shop.runtime, order_id) == (done < 3)
        assert len(sim.log(event="submit_in", order=number)) == done


def test_an_orders_lock_outlives_the_last_refund_that_is_begun_under_it() -> None:
    assert WORK_S < LEASE_MARGIN_S
