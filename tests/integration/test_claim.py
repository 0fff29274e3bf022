"""Who may send: one refund of an order at a time, in the order of intake, while allowed."""

import threading
from collections import defaultdict

import pytest
from sqlalchemy import text

from refundry import State
from tests.databases import migrated
from tests.integration.builders import MINUTE, SOMEBODY, Shop, race
from tests.integration.conftest import MakeShop
from tests.simulator.harness import Sim
from worker.errors import Refused, ServiceAway
from worker.ledger import engine
from worker.ledger.engine import Ledger
from worker.ledger.orders import lock_order
from worker.refund import Verdict
from worker.steps.command import cancel_refund, pause, resume
from worker.steps.holds import hold_order, release_order
from worker.steps.intent import Intent
from worker.steps.submit import send_next, submit

HOT_ORDERS = 5
REFUNDS = 12
#: What the provider says in the races, one after the other.
VERDICTS = (
    Verdict.SUCCEEDED,
    Verdict.REJECTED,
    Verdict.UNKNOWN,
    Verdict.SUCCEEDED,
    Verdict.NEVER_SENT,
    Verdict.PENDING,
)


class Watch:
    """Sees that nobody works on an order that another works on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy: set[int] = set()
        self.overlaps = 0
        self.first: dict[int, list[int]] = defaultdict(list)

    def begin(self, order_id: int, refund_id: int, attempt: int) -> None:
        with self._lock:
            self.overlaps += order_id in self._busy
            self._busy.add(order_id)
            if attempt == 1:
                self.first[order_id].append(refund_id)

    def end(self, order_id: int) -> None:
        with self._lock:
            self._busy.discard(order_id)


def test_workers_that_race_without_a_lock_never_overlap_and_keep_the_order_of_intake(
    postgres_ledger: Ledger, make_shop: MakeShop
) -> None:
    shop = make_shop(postgres_ledger)
    shop.usual["order_amount"] = 1000
    orders = [
        [shop.accept(order_no=f"O{order}", refund_no=f"R{order}x{turn}") for turn in range(REFUNDS)]
        for order in range(HOT_ORDERS)
    ]
    ids = [refunds[0].order_id for refunds in orders]
    watch = Watch()

    def work(number: int) -> int:
        claims = 0
        for turn in range(REFUNDS * HOT_ORDERS):
            order_id = ids[(turn + number) % HOT_ORDERS]
            intent = shop.claim(order_id)
            if intent is None:
                continue
            claims += 1
            watch.begin(order_id, intent.refund.id, intent.number)
            verdict = VERDICTS[(intent.refund.id + intent.number) % len(VERDICTS)]
            watch.end(order_id)
            shop.settle(intent, verdict)
            if verdict in (Verdict.UNKNOWN, Verdict.PENDING):
                shop.settle(intent, Verdict.SUCCEEDED)
            if verdict is Verdict.NEVER_SENT:
                shop.wait(MINUTE)
        return claims

    while sum(race(work)):
        assert watch.overlaps == 0
    for refunds in orders:
        intake = [accepted.refund_id for accepted in refunds]
        assert watch.first[refunds[0].order_id] == intake
    assert shop.rows("SELECT id FROM refunds WHERE state NOT IN ('succeeded', 'failed')") == []
    assert shop.audit() == []


def test_of_workers_that_claim_one_order_at_once_one_gets_it(
    postgres_ledger: Ledger, make_shop: MakeShop
) -> None:
    shop = make_shop(postgres_ledger)
    for turn in range(5):
        order_id = shop.accept(order_no=f"O{turn}", refund_no=f"R{turn}a").order_id
        shop.accept(order_no=f"O{turn}", refund_no=f"R{turn}b")
        claimed = [intent for intent in claim_at_once(shop, order_id) if intent]
        assert [intent.refund.refund_no for intent in claimed] == [f"R{turn}a"]
    holders = "SELECT order_id FROM refunds WHERE holds_order GROUP BY order_id HAVING count(*) > 1"
    assert shop.rows(holders) == []


def claim_at_once(shop: Shop, order_id: int) -> list[Intent | None]:
    return race(lambda _: shop.claim(order_id))


def test_the_next_refund_waits_until_the_one_before_is_final(shop: Shop) -> None:
    order_id = shop.accept().order_id
    shop.accept(refund_no="R2")
    first = shop.claim(order_id)
    assert first is not None
    for verdict in (Verdict.UNKNOWN, Verdict.PENDING):
        assert shop.claim(order_id) is None
        shop.settle(first, verdict)
    assert shop.claim(order_id) is None
    shop.settle(first, Verdict.SUCCEEDED)
    second = shop.claim(order_id)
    assert second is not None
    assert second.refund.refund_no == "R2"


def test_a_head_that_has_to_wait_is_never_skipped(shop: Shop) -> None:
    order_id = shop.accept().order_id
    shop.accept(refund_no="R2")
    first = shop.claim(order_id)
    assert first is not None
    shop.settle(first, Verdict.NEVER_SENT)
    assert shop.claim(order_id) is None
    shop.wait(MINUTE)
    again = shop.claim(order_id)
    assert again is not None
    assert (again.refund.refund_no, again.number) == ("R1", 2)


def test_an_account_may_let_the_next_refund_go_on_acceptance_after_a_spacing(
    ledger: Ledger, make_shop: MakeShop
) -> None:
    shop = make_shop(ledger, shop={"serialisation": "until_accepted", "spacing_s": 30})
    order_id = shop.accept().order_id
    shop.accept(refund_no="R2")
    first = shop.claim(order_id)
    assert first is not None
    shop.settle(first, Verdict.PENDING)
    assert shop.claim(order_id) is None
    shop.wait(MINUTE / 2)
    second = shop.claim(order_id)
    assert second is not None
    assert second.refund.refund_no == "R2"
    assert shop.state() == State.PENDING


@pytest.mark.parametrize("turn", range(10))
def test_a_cancel_that_races_with_a_claim_is_done_or_refused_as_a_whole(
    turn: int, postgres_ledger: Ledger, make_shop: MakeShop
) -> None:
    shop = make_shop(postgres_ledger)
    order_id = shop.accept().order_id

    def cancel_or_claim(number: int) -> bool:
        if number % 2:
            return shop.claim(order_id) is not None
        try:
            return cancel_refund(shop.runtime, "shop", "R1") == order_id
        except Refused:
            return False

    done = race(cancel_or_claim, 4)
    claims, cancels = sum(done[1::2]), sum(done[::2])
    assert claims + cancels == 1
    assert shop.state() == (State.CANCELED if cancels else State.SUBMITTING)
    assert shop.value("SELECT count(*) FROM attempts") == claims
    assert shop.value("SELECT reserved FROM orders") == 10 * claims


@pytest.mark.parametrize("turn", range(10))
def test_a_hold_that_races_with_a_claim_is_granted_or_refused_as_a_whole(
    turn: int, postgres_ledger: Ledger, make_shop: MakeShop
) -> None:
    shop = make_shop(postgres_ledger)
    order_id = shop.accept().order_id

    def hold_or_claim(number: int) -> bool:
        if number % 2:
            return shop.claim(order_id) is not None
        try:
            return hold_order(shop.runtime, "shop", "O1") != ""
        except Refused:
            return False

    done = race(hold_or_claim, 4)
    claims, holds = sum(done[1::2]), sum(done[::2])
    assert claims + holds == 1
    assert shop.value("SELECT count(*) FROM attempts") == claims


def test_nothing_of_a_held_order_goes_until_it_is_released_with_its_token(shop: Shop) -> None:
    order_id = shop.accept().order_id
    token = hold_order(shop.runtime, "shop", "O1")
    shop.wait(100 * MINUTE)
    assert shop.claim(order_id) is None
    for wrong in ("", "x", token[:-1]):
        with pytest.raises(Refused, match="not held under this token"):
            release_order(shop.runtime, "shop", "O1", wrong)
    with pytest.raises(Refused, match="held since"):
        hold_order(shop.runtime, "shop", "O1")
    assert release_order(shop.runtime, "shop", "O1", token) == order_id
    assert shop.claim(order_id) is not None


def test_nothing_of_a_paused_account_goes_until_it_is_resumed(shop: Shop) -> None:
    order_id = shop.accept().order_id
    pause(shop.runtime.ledger, "shop", SOMEBODY)
    shop.accept(refund_no="R2")
    assert shop.claim(order_id) is None
    with pytest.raises(Refused):
        pause(shop.runtime.ledger, "shop", SOMEBODY)
    resume(shop.runtime.ledger, "shop", SOMEBODY)
    assert shop.value("SELECT count(*) FROM orders WHERE wake_at IS NOT NULL") == 1
    assert shop.claim(order_id) is not None
    with pytest.raises(Refused):
        resume(shop.runtime.ledger, "shop", SOMEBODY)


def test_workers_that_take_one_message_many_times_send_each_refund_once(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    shop = make_shop(ledger, sim.url)
    numbers = [f"{number}x{turn}" for turn in range(5)]
    ids = {shop.accept(order_no=f"O{number}", refund_no=no).order_id for no in numbers}
    (order_id,) = ids
    race(lambda _: submit(shop.runtime, order_id))
    assert [shop.state(no) for no in numbers] == [State.SUCCEEDED] * 5
    seen = sim.log(event="submit_in", order=f"O{number}")
    assert [event["refund"] for event in seen] == numbers
    assert not any(event["overlap"] for event in seen)
    assert shop.audit() == []


def test_a_lost_lock_lets_no_refund_go_twice(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    shop = make_shop(ledger, sim.url)
    order_id = shop.accept(order_no=f"O{number}", refund_no=number).order_id
    race(lambda _: send_next(shop.runtime, order_id, ends_at=0))
    assert len(sim.log(event="submit_in", refund=number)) == 1


def test_who_stops_in_the_midst_of_a_transaction_keeps_the_order_for_a_while_only(
    postgres_url: str, make_shop: MakeShop, sim: Sim, number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "IDLE_IN_TRANSACTION_MS", 500)
    with migrated(postgres_url) as ledger:
        shop = make_shop(ledger, sim.url)
        order_id = shop.accept(order_no=f"O{number}", refund_no=number).order_id
        with pytest.raises(ServiceAway, match="does not answer"):
            stop_while_another_wants(ledger, order_id)
        submit(shop.runtime, order_id)
        assert shop.state(number) == State.SUCCEEDED


def stop_while_another_wants(ledger: Ledger, order_id: int) -> None:
    """Lock the order and go on only when another has had it."""
    with ledger.write() as stopped:
        lock_order(stopped, order_id)
        with ledger.write() as other:
            other.execute(text("SET LOCAL lock_timeout = '10s'"))
            lock_order(other, order_id)
