"""T2: right before the first byte, whether the attempt may still be sent is asked once more."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.integration.builders import MINUTE, SOMEBODY
from tests.integration.conftest import MakeShop
from tests.simulator.harness import Sim
from worker.ledger.engine import Ledger
from worker.refund import Verdict
from worker.runtime import suspended_clock
from worker.steps.command import pause
from worker.steps.submit import call_provider
from worker.steps.sweep import sweep

STOPS = {
    "paused": "",
    "frozen": "UPDATE orders SET frozen_at = created_at",
    "held": "UPDATE orders SET held_at = created_at, hold_token = 'x'",
}


@pytest.mark.parametrize("stop", STOPS)
def test_what_was_stopped_after_the_claim_is_not_sent(
    stop: str, ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    shop = make_shop(ledger, sim.url)
    order_id = shop.accept(order_no=f"O{number}", refund_no=number).order_id
    intent = shop.claim(order_id)
    assert intent is not None
    if stop == "paused":
        pause(shop.runtime.ledger, "shop", SOMEBODY)
    else:
        shop.execute(STOPS[stop])
    assert call_provider(shop.runtime, intent).verdict is Verdict.NEVER_SENT
    assert sim.book(refund=number) == []


def test_what_was_claimed_too_long_ago_is_not_sent(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    shop = make_shop(ledger, sim.url)
    intent = shop.claim(shop.accept(order_no=f"O{number}", refund_no=number).order_id)
    assert intent is not None
    deadline_s = shop.runtime.lines["shop"].account.send_deadline_s
    late = replace(intent, began=suspended_clock() - deadline_s - 0.1)
    assert call_provider(shop.runtime, late).verdict is Verdict.NEVER_SENT
    assert sim.book(refund=number) == []
    assert call_provider(shop.runtime, intent).verdict is Verdict.SUCCEEDED


def test_an_attempt_that_is_not_the_latest_any_more_is_not_sent(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    shop = make_shop(ledger, sim.url)
    order_id = shop.accept(order_no=f"O{number}", refund_no=number).order_id
    intent = shop.claim(order_id)
    assert intent is not None
    shop.settle(intent, Verdict.NEVER_SENT)
    shop.wait(MINUTE)
    assert shop.claim(order_id) is not None
    assert call_provider(shop.runtime, intent).verdict is Verdict.NEVER_SENT
    assert sim.book(refund=number) == []


def test_an_attempt_that_was_reaped_is_not_sent(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    shop = make_shop(ledger, sim.url)
    intent = shop.claim(shop.accept(order_no=f"O{number}", refund_no=number).order_id)
    assert intent is not None
    shop.wait(timedelta(seconds=intent.line.account.lease_s + 1))
    assert sweep(shop.runtime).reaped == 1
    outcome = call_provider(shop.runtime, intent)
    assert outcome.verdict is Verdict.NEVER_SENT
    assert sim.book(refund=number) == []
    shop.settle(intent, outcome.verdict)
    assert shop.state(number) == "queued"
