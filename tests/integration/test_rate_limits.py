"""A rate limit is shared by all workers; what it keeps back waits, and nothing is lost or spins."""

import threading
import time
from bisect import bisect
from collections.abc import Iterator
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from refundry import State
from tests.integration.builders import MINUTE, NOW, SOMEBODY, Shop, race, shop_account
from tests.integration.conftest import MakeShop
from tests.integration.crew import SUBMITTERS, at_work, by_the_real_clock
from tests.integration.test_indexes import recorded
from tests.simulator.harness import Sim, await_true
from worker.ledger.engine import Ledger
from worker.ledger.orders import get_order
from worker.rate_limits import RateLimits
from worker.refund import Verdict
from worker.steps.command import pause, resume
from worker.steps.poll import poll
from worker.steps.submit import submit
from worker.steps.sweep import sweep

ORDERS, A_SECOND = 100, 20
#: Calls that may be on their way when a window begins: their places are of the one before.
ON_THE_WAY = 2 * SUBMITTERS
HOUR = 60 * MINUTE
#: A window that no test waits for.
TWO_AN_HOUR = "2/hour"


@pytest.fixture
def limits(valkey: str) -> Iterator[RateLimits]:
    one = RateLimits(valkey)
    yield one
    one.close()


def submit_new(shop: Shop, account: str, name: str) -> int:
    """A refund of an order of its own, submitted if it may go; its order."""
    taken = shop.accept(account=account, order_no=f"O{name}", refund_no=name)
    assert not submit(shop.runtime, taken.order_id)
    return taken.order_id


def test_workers_that_race_keep_to_the_limit_and_every_refund_ends(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    limited = {number: {"rate_limit": f"{A_SECOND}/second"}}
    workers = [by_the_real_clock(make_shop(ledger, sim.url, **limited)) for _ in range(2)]
    shop = workers[0]
    numbers = [f"{number}x{index}" for index in range(ORDERS)]
    ids = [shop.accept(account=number, order_no=f"O{no}", refund_no=no).order_id for no in numbers]
    ended = "SELECT count(*) FROM refunds WHERE state = 'succeeded'"
    with recorded(ledger.engine) as statements, at_work(workers, ids):
        await_true(lambda: shop.value(ended) == ORDERS, 60)
    seen = [event for event in sim.log(event="submit_in") if event["refund"] in numbers]
    times = sorted(event["at"] for event in seen)
    assert len(times) == ORDERS
    assert max(bisect(times, first + 1) - index for index, first in enumerate(times)) <= (
        A_SECOND + ON_THE_WAY
    )
    assert times[-1] - times[0] > ORDERS / A_SECOND - 1.5
    assert shop.value("SELECT count(*) FROM attempts") == ORDERS
    assert shop.value("SELECT count(*) FROM events WHERE state = 'failed'") == 0
    assert len(statements) < 100 * ORDERS, "orders without room spin"


def test_no_window_ever_has_more_places_than_the_limit(limits: RateLimits, number: str) -> None:
    account = shop_account(number, "http://127.0.0.1:9", rate_limit=f"{A_SECOND}/second")
    ends_at = time.monotonic() + 2.5

    def take(_: int) -> list[tuple[float, float]]:
        taken = []
        while (before := time.monotonic()) < ends_at:
            if not limits.take(account):
                taken.append((before, time.monotonic()))
            threading.Event().wait(0.002)
        return taken

    taken = sorted(one for some in race(take) for one in some)
    assert len(taken) == 3 * A_SECOND
    pairs = zip(taken, taken[A_SECOND:], strict=False)
    assert all(later[1] - first[0] >= 1 for first, later in pairs)


def test_an_order_without_room_costs_a_look_and_waits(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    shop = make_shop(ledger, sim.url, **{number: {"rate_limit": TWO_AN_HOUR}})
    for name in "ab":
        submit_new(shop, number, f"{number}{name}")
    taken = shop.accept(account=number, order_no=f"O{number}c", refund_no=f"{number}c")
    with recorded(ledger.engine) as statements:
        assert not submit(shop.runtime, taken.order_id)
    assert len([one for one, _ in statements if not one.startswith("BEGIN")]) == 5
    assert [shop.state(f"{number}{name}") for name in "abc"] == ["succeeded"] * 2 + ["queued"]
    assert shop.value("SELECT count(*) FROM attempts") == 2
    assert shop.value("SELECT count(*) FROM events WHERE refund_id = 3") == 1


def test_orders_without_room_are_woken_one_by_one(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    shop = make_shop(ledger, sim.url, **{number: {"rate_limit": TWO_AN_HOUR}})
    ids = [submit_new(shop, number, f"{number}{turn}") for turn in range(6)][2:]
    with shop.runtime.ledger.read() as connection:
        wakes = [get_order(connection, order_id).wake_at for order_id in ids]
    for turn, wake_at in enumerate(wakes):
        assert wake_at is not None
        after_room = wake_at - NOW - HOUR
        assert turn * HOUR / 2 - MINUTE < after_room < (turn + 1) * HOUR / 2
    assert sweep(shop.runtime).wake == []
    shop.wait(3 * HOUR)
    assert sweep(shop.runtime).wake == ids


def test_what_may_not_go_takes_no_place(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    shop = make_shop(ledger, sim.url, **{number: {"rate_limit": TWO_AN_HOUR}})
    pause(shop.runtime.ledger, number, SOMEBODY)
    ids = [submit_new(shop, number, f"{number}{turn}") for turn in range(2)]
    for order_id in ids * 2:
        submit(shop.runtime, order_id)
    resume(shop.runtime.ledger, number, SOMEBODY)
    for order_id in ids:
        submit(shop.runtime, order_id)
    assert [shop.state(f"{number}{turn}") for turn in range(2)] == [State.SUCCEEDED] * 2


def test_questions_have_places_of_their_own_and_waste_none(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    shop = make_shop(ledger, sim.url, **{number: {"rate_limit": "3/hour"}})
    for turn in range(4):
        accepted = shop.accept(account=number, order_no=f"O{turn}", refund_no=f"{number}{turn}")
        intent = shop.claim(accepted.order_id)
        assert intent is not None
        shop.settle(intent, Verdict.UNKNOWN)
        if turn == 0:
            shop.wait(2 * MINUTE)
            assert poll(shop.runtime).asked == 1
    submit_new(shop, number, f"{number}s")
    assert shop.state(f"{number}s") == State.SUCCEEDED
    shop.wait(30 * MINUTE)
    assert [poll(shop.runtime).asked for _ in range(3)] == [2, 0, 0]


def test_a_redis_that_is_away_limits_nobody(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    shop = make_shop(ledger, sim.url, **{number: {"rate_limit": "1/hour"}})
    away = RateLimits("redis://127.0.0.1:1/0")
    shop = replace(shop, runtime=replace(shop.runtime, limits=away))
    with capture_logs() as logs:
        for turn in range(3):
            submit_new(shop, number, f"{number}{turn}")
        assert away.take_up_to(shop.runtime.lines[number].account, 7) == 7
    assert [shop.state(f"{number}{turn}") for turn in range(3)] == [State.SUCCEEDED] * 3
    assert {log["account"] for log in logs if log["event"] == "rate_limit.redis_away"} == {number}
    away.close()
