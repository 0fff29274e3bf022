"""A provider is out while workers race: few calls reach it, one at a time, and nothing is lost."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from refundry import State
from tests.integration.builders import Shop
from tests.integration.conftest import MakeShop
from tests.integration.crew import SUBMITTERS, at_work, by_the_real_clock
from tests.simulator.harness import Sim, await_true
from worker.ledger.engine import Ledger

FAILURES = 3
RESET_S = 0.8
#: Short, so that what was lost on its way is sent again within seconds.
QUICK = {
    "time_scale": 0.01,
    "breaker_failures": FAILURES,
    "breaker_reset_s": RESET_S * 100,
    "send_deadline_s": 0.5,
    "total_timeout_s": 1.0,
    "not_found_over_s": 20,
    "provider_delay_s": 10,
    "poll_schedule_s": [20],
}
ORDERS = 15
#: As many fail before the provider is well again.
TRIALS = 2


@pytest.fixture
def own_sim(tmp_path: Path) -> Iterator[Sim]:
    """A simulator whose dial no other test minds."""
    one = Sim(tmp_path / "sim")
    yield one
    assert one.stop() == 0


def submissions(sim: Sim, **wanted: Any) -> list[Any]:
    return sorted(sim.log(event="submit_in", **wanted), key=lambda event: float(event["at"]))


def is_over(shop: Shop) -> bool:
    return not shop.value("SELECT count(*) FROM refunds WHERE state <> 'succeeded'")


def test_an_outage_opens_the_breaker_and_after_one_trial_everything_goes_on(
    ledger: Ledger, make_shop: MakeShop, own_sim: Sim
) -> None:
    workers = [by_the_real_clock(make_shop(ledger, own_sim.url, shop=QUICK)) for _ in range(2)]
    shop = workers[0]
    own_sim.control("dial", {"provider": "quickpay", "submit": {"reset_before": 1.0}})
    ids = [
        shop.accept(order_no=f"O{number}", refund_no=f"R{number}").order_id
        for number in range(ORDERS)
    ]
    with at_work(workers, ids):
        await_true(lambda: shop.value("SELECT breaker_until FROM accounts"))
        await_true(lambda: shop.value("SELECT max(failures) FROM accounts") >= FAILURES + TRIALS)
        asked_while_open = own_sim.log(event="query")
        own_sim.control("dial", {"provider": "quickpay", "submit": {}, "latency_s": [0.3, 0.3]})
        await_true(lambda: is_over(shop), 90)
    assert asked_while_open
    lost, taken = submissions(own_sim, fault="reset_before"), submissions(own_sim, fault="ok")
    before_it_opened = FAILURES + len(workers) * SUBMITTERS - 1
    assert len(lost) <= before_it_opened + TRIALS + 2
    trials = [lost[-2]["at"], lost[-1]["at"], taken[0]["at"]]
    assert all(after - before >= RESET_S for before, after in pairwise(trials))
    answered = own_sim.log(event="submit", refund=taken[0]["refund"], fault="ok")
    assert all(one["at"] > answered[0]["at"] for one in taken[1:])
    executed = [one["refund"] for one in own_sim.log(event="EXECUTED")]
    assert sorted(executed) == sorted(f"R{number}" for number in range(ORDERS))
    assert {shop.state(f"R{number}") for number in range(ORDERS)} == {State.SUCCEEDED}
    assert shop.value("SELECT count(*) FROM events WHERE state = 'failed'") == 0
    assert shop.value("SELECT breaker_until FROM accounts") is None
