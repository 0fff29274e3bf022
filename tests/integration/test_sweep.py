"""What nobody works on is found; what is too old is handed to people; producers are told."""

import random
import threading
from collections import defaultdict
from datetime import timedelta
from typing import Any

import pytest

from refundry import State
from tests.integration.builders import MINUTE, Shop, race
from tests.integration.conftest import MakeShop
from worker.ledger.engine import Ledger
from worker.refund import Verdict
from worker.steps.announce import announce
from worker.steps.settle import until_committed
from worker.steps.submit import submit
from worker.steps.sweep import sweep

DAY = timedelta(days=1)
TOLD = {"task": "shop.told"}
Told = dict[str, Any]


class Crash(BaseException):
    """The worker dies."""


def test_an_attempt_past_its_lease_is_unknown_and_keeps_its_order(shop: Shop) -> None:
    order_id = shop.accept().order_id
    shop.accept(refund_no="R2")
    intent = shop.claim(order_id)
    assert intent is not None
    lease = timedelta(seconds=shop.runtime.lines["shop"].account.lease_s)
    shop.wait(lease)
    assert sweep(shop.runtime).reaped == 0
    shop.wait(timedelta(seconds=1))
    assert sweep(shop.runtime).reaped == 1
    assert sweep(shop.runtime).reaped == 0
    assert shop.state() == State.UNKNOWN
    assert shop.value("SELECT status FROM attempts") == "unknown"
    assert shop.claim(order_id) is None
    assert shop.value("SELECT due_at FROM refunds WHERE refund_no = 'R1'") is not None


@pytest.mark.parametrize(
    ("verdict", "state"),
    [(Verdict.SUCCEEDED, "succeeded"), (Verdict.REJECTED, "failed"), (Verdict.BUSY, "queued")],
)
def test_an_answer_that_comes_after_the_reaper_counts(
    verdict: Verdict, state: str, shop: Shop
) -> None:
    intent = shop.claim(shop.accept().order_id)
    assert intent is not None
    shop.wait(10 * MINUTE)
    assert sweep(shop.runtime).reaped == 1
    shop.settle(intent, verdict)
    assert shop.state() == state
    assert shop.audit() == []


def test_sweeps_at_once_reap_an_attempt_once(postgres_ledger: Ledger, make_shop: MakeShop) -> None:
    shop = make_shop(postgres_ledger)
    shop.claim(shop.accept().order_id)
    shop.wait(10 * MINUTE)
    assert sum(swept.reaped for swept in race(lambda _: sweep(shop.runtime))) == 1
    assert shop.value("SELECT count(*) FROM events WHERE kind = 'reaped'") == 1


def test_an_order_whose_message_was_lost_is_woken_again_and_again(shop: Shop) -> None:
    order_id = shop.accept().order_id
    assert sweep(shop.runtime).wake == []
    shop.wait(MINUTE / 6)
    assert sweep(shop.runtime).wake == [order_id]
    assert sweep(shop.runtime).wake == []
    shop.wait(MINUTE)
    assert sweep(shop.runtime).wake == [order_id]
    shop.claim(order_id)
    shop.wait(MINUTE)
    assert sweep(shop.runtime).wake == []


def test_sweeps_at_once_wake_each_order_once(postgres_ledger: Ledger, make_shop: MakeShop) -> None:
    shop = make_shop(postgres_ledger)
    ids = [shop.accept(order_no=f"O{n}", refund_no=f"R{n}").order_id for n in range(20)]
    shop.wait(MINUTE)
    woken = [
        order_id for swept in race(lambda _: sweep(shop.runtime, 7)) for order_id in swept.wake
    ]
    assert len(woken) == len(set(woken))
    while wake := sweep(shop.runtime, 7).wake:
        woken += wake
    assert sorted(woken) == ids


def cases(shop: Shop) -> list[tuple[str, str]]:
    """Number and kind of every case that somebody owns."""
    sql = (
        "SELECT refund_no, kind FROM cases JOIN refunds ON refunds.id = refund_id "
        "WHERE owner <> '' ORDER BY refund_no"
    )
    return [(row.refund_no, row.kind) for row in shop.rows(sql)]


def test_a_queued_or_unknown_refund_is_handed_to_people_after_a_day(shop: Shop) -> None:
    shop.accept()
    intent = shop.claim(shop.accept(order_no="O2", refund_no="R2").order_id)
    assert intent is not None
    shop.settle(intent, Verdict.UNKNOWN)
    shop.wait(DAY - MINUTE)
    sweep(shop.runtime)
    assert cases(shop) == []
    shop.wait(MINUTE)
    sweep(shop.runtime)
    shop.wait(DAY)
    sweep(shop.runtime)
    assert cases(shop) == [("R1", "aged"), ("R2", "aged")]
    assert (shop.state(), shop.state("R2")) == (State.QUEUED, State.UNKNOWN)


def test_an_accepted_refund_is_handed_to_people_after_a_week(shop: Shop) -> None:
    intent = shop.claim(shop.accept().order_id)
    assert intent is not None
    shop.settle(intent, Verdict.PENDING)
    shop.wait(7 * DAY - MINUTE)
    sweep(shop.runtime)
    assert cases(shop) == []
    shop.wait(MINUTE)
    sweep(shop.runtime)
    assert cases(shop) == [("R1", "aged")]


def test_a_final_refund_is_never_handed_to_people_for_its_age(shop: Shop) -> None:
    intent = shop.claim(shop.accept().order_id)
    assert intent is not None
    shop.settle(intent, Verdict.SUCCEEDED)
    shop.wait(30 * DAY)
    sweep(shop.runtime)
    assert cases(shop) == []


def test_what_can_be_neither_asked_about_nor_notified_is_handed_to_people_at_once(
    ledger: Ledger, make_shop: MakeShop
) -> None:
    shop = make_shop(ledger, shop={"query": False})
    intent = shop.claim(shop.accept().order_id)
    assert intent is not None
    shop.settle(intent, Verdict.UNKNOWN)
    assert shop.value("SELECT kind FROM cases") == "unaskable"
    assert shop.audit() == []


def end(shop: Shop, order_no: str, refund_no: str, verdict: Verdict) -> None:
    """A refund from intake to its end, with its two announcements."""
    accepted = shop.accept(order_no=order_no, refund_no=refund_no, announce=TOLD)
    intent = shop.claim(accepted.order_id)
    assert intent is not None
    shop.settle(intent, verdict)


def test_producers_are_told_of_acceptance_and_then_of_the_end(shop: Shop) -> None:
    end(shop, "O1", "R1", Verdict.SUCCEEDED)
    end(shop, "O2", "R2", Verdict.REJECTED)
    told: list[Told] = []
    while announce(shop.runtime, lambda _, payload: told.append(payload)).delivered:
        pass
    by_refund = defaultdict(list)
    for payload in told:
        by_refund[payload["refund_no"]].append((payload["event"], payload["state"]))
    assert by_refund == {
        "R1": [("accepted", "queued"), ("final", "succeeded")],
        "R2": [("accepted", "queued"), ("final", "failed")],
    }


def test_an_announcement_that_is_not_taken_holds_up_only_its_own_refund(shop: Shop) -> None:
    end(shop, "O1", "R1", Verdict.SUCCEEDED)
    end(shop, "O2", "R2", Verdict.SUCCEEDED)
    told: list[Told] = []

    def deliver(_: Told, payload: Told) -> None:
        if payload["refund_no"] == "R1":
            raise OSError("nobody listens")
        told.append(payload)

    for _ in range(5):
        announce(shop.runtime, deliver)
    assert [payload["event"] for payload in told] == ["accepted", "final"]
    assert shop.value("SELECT sum(tries) FROM announcements") == 1
    shop.wait(MINUTE)
    for _ in range(3):
        announce(shop.runtime, lambda _, payload: told.append(payload))
    assert [payload["event"] for payload in told] == ["accepted", "final"] * 2


def test_who_cannot_be_told_for_a_day_is_a_case_and_is_still_tried(shop: Shop) -> None:
    end(shop, "O1", "R1", Verdict.SUCCEEDED)

    def deliver(_: Told, payload: Told) -> None:
        raise OSError(f"nobody listens for {payload['refund_no']}")

    for _ in range(30):
        assert announce(shop.runtime, deliver).not_taken == 1
        shop.wait(70 * MINUTE)
    assert shop.value("SELECT kind FROM cases") == "unannounced"


def test_what_was_told_when_the_worker_died_is_told_again(shop: Shop) -> None:
    end(shop, "O1", "R1", Verdict.SUCCEEDED)
    told: list[str] = []

    def die_after(_: Told, payload: Told) -> None:
        told.append(payload["event"])
        raise Crash

    with pytest.raises(Crash):
        announce(shop.runtime, die_after)
    assert announce(shop.runtime, die_after).delivered == 0
    shop.wait(2 * MINUTE)
    while announce(shop.runtime, lambda _, payload: told.append(payload["event"])).delivered:
        pass
    assert told == ["accepted", "accepted", "final"]


def test_announcers_at_once_tell_everything_in_order(
    postgres_ledger: Ledger, make_shop: MakeShop
) -> None:
    shop = make_shop(postgres_ledger)
    numbers = [f"R{turn}" for turn in range(25)]
    for number in numbers:
        end(shop, f"O{number}", number, Verdict.SUCCEEDED)
    told: dict[str, list[str]] = defaultdict(list)
    lock, chance = threading.Lock(), random.Random(7)

    def deliver(_: Told, payload: Told) -> None:
        with lock:
            if chance.random() < 0.3:
                raise OSError("the broker is away")
            told[payload["refund_no"]].append(payload["event"])

    def work(number: int) -> None:
        for _ in range(10):
            until_committed(lambda: announce(shop.runtime, deliver, 7))
            shop.wait(MINUTE / 30)

    while shop.value("SELECT count(*) FROM announcements WHERE delivered_at IS NULL"):
        race(work)
        shop.wait(2 * MINUTE)
    assert set(told) == set(numbers)
    assert all(list(dict.fromkeys(events)) == ["accepted", "final"] for events in told.values())


def test_an_order_whose_lock_a_killed_worker_left_is_looked_at_again_within_seconds(
    shop: Shop,
) -> None:
    order_id = shop.accept().order_id
    shop.wait(MINUTE)
    assert sweep(shop.runtime).wake == [order_id]
    with shop.runtime.locks.try_hold(order_id, 30):
        assert not submit(shop.runtime, order_id)
    shop.wait(timedelta(seconds=6))
    assert sweep(shop.runtime).wake == [order_id]
